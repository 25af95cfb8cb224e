module bench.local/hmac

go 1.22
