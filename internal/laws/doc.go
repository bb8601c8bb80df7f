// Package laws holds the tests that need several rooms at once: what the design
// promises of fwctl as a whole.
//
// The kernel agrees with the evaluator (kernel_linux_test.go): every example
// policy and many random ones are put into a real kernel by each backend, and
// packets, random ones and those at the edges of every rule, are sent through it
// at all three hooks. What the kernel does must be what [rules.Ruleset.Decide]
// says. A packet for which it does not is reported with the smallest policy that
// still shows it.
//
// Text and netlink mean the same (text_linux_test.go): `nft -f` of the rendered
// text and the apply over netlink list the same table.
//
// Rendering is canonical (canonical_test.go): the order of a policy's sections and
// lists does not show in the output, nor does the day.
//
// The reader agrees with the kernel on rules that others wrote
// (nft_linux_test.go, nfttests_linux_test.go): random ones, and those with which
// nft tests each of its expressions.
//
// What one program says to two backends is compared as it should be
// (pairs_linux_test.go): networks that Docker renders for iptables and for
// nftables are proved equal or are not, and both kernels agree on the packets.
//
// The environment variable FWCTL_SOAK multiplies what is drawn, FWCTL_POLICIES and
// FWCTL_RULESETS say it in numbers, and FWCTL_SEED draws others ([gen.Dose],
// [gen.Seed]).
package laws
