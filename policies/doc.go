// Package policies holds the service profiles and the example policies that
// come with fwctl: TOML files, embedded, and the tests that prove each of them.
// It imports the standard library alone; who wants to read a profile or a policy
// hands [Profiles] or [Examples] to the loader of package rules.
//
// Read profiles/cromwell.toml and examples/cromwell.toml first, then, for
// everything a profile can say, profiles/cloudify-manager.toml; for everything a
// policy can say, examples/bastion.toml.
//
// # Profiles
//
// A profile knows the ports of a product and what kind of peer uses each of
// them. It never knows who these peers are at a site: that is the policy's to
// say, for every kind, even if it says nobody.
//
//	[service.omero]
//	profile = "omero"
//	with    = { prefix = "1" }
//	from    = { clients = ["any"], web = ["any"], grid = [] }
//
// The file profiles/NAME.toml has, at its top:
//
//   - product, versions: what it is for, as people call it;
//   - source: the documents it was written from, with their date or edition;
//   - notes: a list; above all, one note for each point in which the documents
//     disagree. The profile takes the narrower reading and has a parameter for
//     the other.
//
// [parameter.NAME] is a choice that the policy makes by with = { NAME = … }:
//
//   - default: its TOML type (string, boolean or integer) is the type of the
//     parameter. Where no value is right for most, there is no default but a
//     type = "string", and the policy must choose;
//   - values: the only values allowed; without it, any of the type;
//   - doc: a sentence for the writer of the policy.
//
// By convention the choice of what runs on this host is called role, that of the
// product's version version. A role, and nothing else, may be given as a list;
// the host then has the rows of all of them.
//
// [audience.NAME] is a kind of peer, with its doc. The policy names those that
// have a row under the parameters it chose, and no other. Where there is only
// one, from may be a plain list.
//
// [port.NAME] is a row: what is open, to which audience, and when.
//
//   - ports: as in a policy, "443/tcp", "60000-61000/udp"; {parameter} stands for
//     a parameter's value and is replaced before the port is read;
//   - protocols, to, source_ports: as in a policy. An address in to is a
//     multicast group or a link-local network, because a profile knows no site;
//   - audience: one of the above. A port for two audiences is two rows;
//   - when: conditions that must all hold: "insecure" (the boolean is true),
//     "!insecure", "role=manager", "role=manager|queue", "version!=3.4". Without
//     it the row always counts. Under a list of roles a row counts if it does for
//     one of them;
//   - doc: what answers there.
//
// [never.NAME] lists ports on which the product listens, or may, and which
// nobody else may reach; an audit reports them when somebody can.
//
// # Examples
//
// Each example is a whole policy for a host of one kind, written to be read by
// somebody who has not seen fwctl before. Its addresses are those of RFC 5737 and
// RFC 3849, its names those of RFC 2606. Its [test.*] sections state what it
// promises.
package policies
