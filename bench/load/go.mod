module sampan.dev/bench/load

go 1.24
