module gosite

go 1.22
