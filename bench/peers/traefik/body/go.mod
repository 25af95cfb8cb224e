module bench.local/body

go 1.22
