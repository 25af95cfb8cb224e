module bench.local/header

go 1.22
