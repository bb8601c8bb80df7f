package fault

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Calls are the system calls by which a process has an effect outside of itself, or
// learns of one: files, sockets, processes.
var Calls = []uint64{
	unix.SYS_OPENAT, unix.SYS_READ, unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_FSYNC, unix.SYS_FTRUNCATE, unix.SYS_FCHMOD, unix.SYS_FLOCK,
	unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT, unix.SYS_UNLINKAT, unix.SYS_MKDIRAT, unix.SYS_CLOSE,
	unix.SYS_SOCKET, unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_RECVFROM, unix.SYS_RECVMSG,
	unix.SYS_CLONE, unix.SYS_WAIT4, unix.SYS_WAITID, unix.SYS_FCNTL, unix.SYS_PIPE2,
}

// Outcome is how a program ended that was to be killed.
type Outcome struct {
	Calls  int    // system calls of interest that it began
	Killed bool   // it was killed; else it ended by itself
	Call   uint64 // the last of them
	Status syscall.WaitStatus
}

// Kill starts the program and kills it as it begins, or with after as it has made,
// its at'th system call out of Calls, counted from 1 over all of its threads. With
// at zero it runs to its end. The program's streams are those of cmd that are
// files.
func Kill(cmd *exec.Cmd, at int, after bool) (Outcome, error) {
	runtime.LockOSThread() // who traces is a thread
	defer runtime.UnlockOSThread()
	attr := &syscall.SysProcAttr{Ptrace: true}
	if cmd.SysProcAttr != nil {
		*attr = *cmd.SysProcAttr
		attr.Ptrace = true
	}
	cmd.SysProcAttr = attr
	if err := cmd.Start(); err != nil {
		return Outcome{}, err
	}
	k := &killing{pid: cmd.Process.Pid, at: at, after: after}
	defer func() { _ = cmd.Process.Release() }()
	if err := k.follow(); err != nil {
		_ = syscall.Kill(k.pid, syscall.SIGKILL)
		return k.out, fmt.Errorf("trace %s: %w", cmd.Path, err)
	}
	return k.out, nil
}

type killing struct {
	pid   int
	at    int
	after bool
	out   Outcome
}

// follow lets the threads run from stop to stop. The first is that of execve(2).
func (k *killing) follow() error {
	var status syscall.WaitStatus
	if _, err := wait(k.pid, &status); err != nil {
		return err
	}
	const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_EXITKILL
	if err := unix.PtraceSetOptions(k.pid, options); err != nil {
		return err
	}
	if err := unix.PtraceSyscall(k.pid, 0); err != nil {
		return err
	}
	for {
		tid, err := wait(-1, &status)
		switch {
		case errors.Is(err, unix.ECHILD):
			return nil
		case err != nil:
			return err
		case status.Exited() || status.Signaled():
			if tid == k.pid {
				k.out.Status = status
			}
			continue
		}
		if err := k.stopped(tid, status); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
}

// wait waits for what this thread traces.
func wait(pid int, status *syscall.WaitStatus) (int, error) {
	const ofThread = 0x20000000 // __WNOTHREAD, linux/wait.h
	for {
		tid, err := syscall.Wait4(pid, status, unix.WALL|ofThread, nil)
		if !errors.Is(err, syscall.EINTR) {
			return tid, err
		}
	}
}

// stopped lets a thread go on, or ends all.
func (k *killing) stopped(tid int, status syscall.WaitStatus) error {
	signal := 0
	switch sig := status.StopSignal(); sig {
	case syscall.SIGTRAP | 0x80:
		done, err := k.call(tid)
		if done || err != nil {
			return err
		}
	case syscall.SIGTRAP, syscall.SIGSTOP: // an event, or a new thread
	default:
		signal = int(sig)
	}
	return unix.PtraceSyscall(tid, signal)
}

// callInfo is the beginning of struct ptrace_syscall_info (linux/ptrace.h).
type callInfo struct {
	op     uint8
	_      [3]uint8
	_      uint32
	_, _   uint64
	number uint64
	_      [16]uint64
}

const (
	getSyscallInfo = 0x420e // PTRACE_GET_SYSCALL_INFO
	entry, exit    = 1, 2   // PTRACE_SYSCALL_INFO_*
)

// call counts a system call and kills when it is the one.
func (k *killing) call(tid int) (done bool, err error) {
	var info callInfo
	if _, _, e := unix.Syscall6(unix.SYS_PTRACE, getSyscallInfo, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0); e != 0 {
		return false, e
	}
	if info.op == entry && slices.Contains(Calls, info.number) {
		k.out.Calls++
		k.out.Call = info.number
		if k.out.Calls == k.at && !k.after {
			return true, k.kill()
		}
	}
	if info.op == exit && k.after && k.at > 0 && k.out.Calls >= k.at {
		return true, k.kill()
	}
	return false, nil
}

func (k *killing) kill() error {
	k.out.Killed = true
	return syscall.Kill(k.pid, syscall.SIGKILL)
}
