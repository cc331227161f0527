package control

import (
	"net"
	"syscall"
)

// peerUser is the user at the other end of a socket: the system says it, the peer
// cannot. Empty where it is not known.
func peerUser(c net.Conn) string {
	s, ok := c.(syscall.Conn)
	if !ok {
		return ""
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return ""
	}
	var cred *syscall.Ucred
	if err := raw.Control(func(fd uintptr) {
		cred, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil || cred == nil {
		return ""
	}
	return userName(int(cred.Uid))
}
