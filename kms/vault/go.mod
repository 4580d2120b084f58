module github.com/plugfn/plugfn/kms/vault

go 1.26.0
