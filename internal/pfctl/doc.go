// Package pfctl is a stand-in for pfctl(8), by which all of fwctl but the kernel of a
// BSD is tested on Linux. It keeps what pf would keep in a directory, reads what it is
// given with the grammar of read/pf, refuses what pfctl refuses, and prints as pfctl
// prints.
//
// Read [Main] first, then [State]. The directory is that of PFCTL_DIR; without it there
// is no pf, as on a host without /dev/pf. In it are
//
//	state.json  what pf holds, a State
//	calls       a line for each call, with its arguments
//	input/N     what call N read from its standard input
//	before      a shell script that is run before each call, with its arguments and
//	            PFCTL_CALL=N; if it fails, so does the call, and nothing is done. It
//	            may hang, end the process that called, or change pf by pfctl itself
//	after       the same, when the call has done its work
//
// Nothing of it is part of fwctl.
package pfctl
