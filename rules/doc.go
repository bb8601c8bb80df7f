// Package rules is the policy: as written, as meant, and what it decides.
//
//	policy.toml ─ Load ─▶ Policy ─ Resolve(Host) ─▶ Ruleset ─ Decide(packet) ─▶ Decision
//
// Read [Ruleset] and [Rule] first: every renderer, the evaluator and the audit
// work from them. [Policy] is what the file says, with the place of every
// value; [Host] is what is known of the machine, handed in as an argument and
// never read here. [Ruleset.Decide] is the reference for what a policy means:
// everything else is tested against it.
//
// The package is pure: files come through an fs.FS, facts through Host.
package rules
