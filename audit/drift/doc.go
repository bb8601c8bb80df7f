// Package drift holds the running host against a policy: all packets that the
// policy speaks of, against all tables that decide on them.
//
// [Find] answers a [Question] with a [Report]. A difference is a [Finding]: the
// packets in words, one packet as witness, the rule of the host and the line of
// the policy that decide on it. Every witness is checked on both sides by
// packet.Filter.Decide, which shares nothing with the diagrams that found it.
//
// A report never says "in sync" unless that was proved for every packet, and
// nothing was left out that could let a packet pass.
package drift
