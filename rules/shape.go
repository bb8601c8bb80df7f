package rules

type shape struct{}
