-- +goose Up

-- When the person first looked at what a client asks for, which is recorded once.
ALTER TABLE consent_requests ADD COLUMN shown_at INTEGER;
