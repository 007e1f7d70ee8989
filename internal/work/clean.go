package work

import (
	"context"
	"fmt"
	"time"

	"carnet/internal/db"
)

// cleaning is what ends what has been in the recycle bin for [Retention], in an order in which nothing is left without
// what it belongs to.
var cleaning = []string{
	`DELETE FROM comments WHERE (organization_id, id) IN
		(SELECT organization_id, id FROM comments WHERE deleted_at <= $1 LIMIT $2)`,
	`DELETE FROM comments WHERE (organization_id, id) IN
		(SELECT c.organization_id, c.id FROM tasks t
		 JOIN comments c ON c.organization_id = t.organization_id AND c.task_id = t.id WHERE t.deleted_at <= $1 LIMIT $2)`,
	`DELETE FROM tasks WHERE (organization_id, id) IN
		(SELECT organization_id, id FROM tasks WHERE deleted_at <= $1 LIMIT $2)`,
	`DELETE FROM comments WHERE (organization_id, id) IN
		(SELECT c.organization_id, c.id FROM projects p
		 JOIN tasks t ON t.organization_id = p.organization_id AND t.project_id = p.id
		 JOIN comments c ON c.organization_id = t.organization_id AND c.task_id = t.id WHERE p.deleted_at <= $1 LIMIT $2)`,
	`DELETE FROM tasks WHERE (organization_id, id) IN
		(SELECT t.organization_id, t.id FROM projects p
		 JOIN tasks t ON t.organization_id = p.organization_id AND t.project_id = p.id WHERE p.deleted_at <= $1 LIMIT $2)`,
	`DELETE FROM project_members WHERE (organization_id, project_id, user_id) IN
		(SELECT m.organization_id, m.project_id, m.user_id FROM projects p
		 JOIN project_members m ON m.organization_id = p.organization_id AND m.project_id = p.id WHERE p.deleted_at <= $1 LIMIT $2)`,
	`DELETE FROM project_counters WHERE (organization_id, project_id) IN
		(SELECT n.organization_id, n.project_id FROM projects p
		 JOIN project_counters n ON n.organization_id = p.organization_id AND n.project_id = p.id WHERE p.deleted_at <= $1 LIMIT $2)`,
	`DELETE FROM projects WHERE (organization_id, id) IN
		(SELECT organization_id, id FROM projects WHERE deleted_at <= $1 LIMIT $2)`,
}

// Clean deletes for good what has been in the recycle bin for [Retention], in small batches.
func (s *Service) Clean(ctx context.Context, now time.Time) error {
	for _, statement := range cleaning {
		if err := s.DB.DeleteInBatches(ctx, statement, db.Micros(now.Add(-Retention))); err != nil {
			return fmt.Errorf("empty the recycle bin: %w", err)
		}
	}
	return nil
}
