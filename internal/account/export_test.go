package account

import (
	"context"
	"crypto/sha256"
)

// HashesForTest returns how many password hashes were computed.
func (s *Service) HashesForTest() int {
	s.hashes.mu.Lock()
	defer s.hashes.mu.Unlock()
	return s.hashes.count
}

// OccupyForTest takes a turn to hash, as a sign-in does, and returns what gives it back.
func (s *Service) OccupyForTest(ctx context.Context) (leave func(), err error) {
	return s.hashes.enter(ctx)
}

// TurnsForTest returns how many hashes may run at a time, how many may run or wait, and how many do either now.
func (s *Service) TurnsForTest() (running, waiting, now int) {
	return cap(s.hashes.running), cap(s.hashes.waiting), len(s.hashes.waiting)
}

// PasswordForTest says what is wrong with a password for that account, "" when nothing is.
func PasswordForTest(password, email, name string) string {
	if wrong := checkPassword("body.password", password, contextOf(email, name)...); wrong != nil {
		return wrong.Message
	}
	return ""
}

// CodeDigestForTest is the form in which a code is stored.
func CodeDigestForTest(code string) []byte {
	sum := sha256.Sum256([]byte(code))
	return sum[:]
}
