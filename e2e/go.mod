module offshoot.dev/e2e

go 1.26.0
