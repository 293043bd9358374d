module kaia
go 1.24
require (
	github.com/kaiachain/kaia v1.0.3
	github.com/supranational/blst v0.3.16
)
