package verify

// DropCacheForTest forgets every cached grant.
func (s *Service) DropCacheForTest() { s.cache.Drop(s.cache.now()) }

// BeforePutForTest has fn run between the reading of a grant and its keeping.
func (s *Service) BeforePutForTest(fn func()) { s.beforePut = fn }
