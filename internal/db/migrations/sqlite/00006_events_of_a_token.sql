-- +goose Up

-- What a token did, and what was done to it, are looked up for its page.
CREATE INDEX audit_events_by_token ON audit_events (organization_id, credential_id, id) WHERE credential_kind = 'token';
CREATE INDEX audit_events_of_token ON audit_events (organization_id, resource_id, id) WHERE substr(resource_id, 1, 4) = 'tok_';
