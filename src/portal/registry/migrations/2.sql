-- Developers sign in. One without a status has no account: an operator named them with an
-- application. An account's name is its e-mail address in lower case.

ALTER TABLE developers ADD COLUMN full_name TEXT;
ALTER TABLE developers ADD COLUMN status TEXT;
-- Argon2id, as a PHC string.
ALTER TABLE developers ADD COLUMN password TEXT;
-- Who they are at the operator's own identity provider.
ALTER TABLE developers ADD COLUMN issuer TEXT;
ALTER TABLE developers ADD COLUMN subject TEXT;
ALTER TABLE developers ADD COLUMN updated_at BIGINT;
ALTER TABLE developers ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX developers_by_subject ON developers (issuer, subject);
CREATE INDEX developers_by_folded_name ON developers (lower(name));

-- Good once, to set a password. The token is a digest.
CREATE TABLE invitations (
    token TEXT PRIMARY KEY,
    developer TEXT NOT NULL UNIQUE REFERENCES developers (id) ON DELETE CASCADE,
    until BIGINT NOT NULL
);

-- The token is a digest. A session ends at the first of the two times.
CREATE TABLE developer_sessions (
    token TEXT PRIMARY KEY,
    developer TEXT NOT NULL REFERENCES developers (id) ON DELETE CASCADE,
    idle_until BIGINT NOT NULL,
    until BIGINT NOT NULL
);
CREATE INDEX developer_sessions_by_developer ON developer_sessions (developer);

-- Of operators in a browser. The mark binds a session to the admin token with which it began.
CREATE TABLE operator_sessions (
    token TEXT PRIMARY KEY,
    mark TEXT NOT NULL,
    idle_until BIGINT NOT NULL,
    until BIGINT NOT NULL
);
