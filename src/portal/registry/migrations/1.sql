-- The registry as it began. Read by SQLite and PostgreSQL alike: ids, words and JSON are TEXT, times
-- are milliseconds since 1970, what is sealed is base64.

CREATE TABLE registry (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    -- Raised first in every transaction that writes, so that writers take turns.
    revision BIGINT NOT NULL,
    -- The revision at which providers, strategies or APIs changed last.
    configuration BIGINT NOT NULL,
    -- Clients that went before this revision are not remembered one by one.
    gone_since BIGINT NOT NULL
);
INSERT INTO registry (id, revision, configuration, gone_since) VALUES (1, 1, 1, 0);

CREATE TABLE providers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    provider_type TEXT NOT NULL,
    issuer TEXT NOT NULL,
    settings TEXT NOT NULL,
    secrets TEXT,
    labels TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    revision BIGINT NOT NULL
);

-- A strategy may name a provider of the configuration file, so this is no foreign key.
CREATE TABLE strategies (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    settings TEXT NOT NULL,
    provider TEXT,
    labels TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    revision BIGINT NOT NULL
);

CREATE TABLE apis (
    name TEXT PRIMARY KEY,
    auto_approve BIGINT NOT NULL,
    strategies TEXT NOT NULL,
    revision BIGINT NOT NULL
);

CREATE TABLE developers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

CREATE TABLE applications (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    -- The name in lower case, by which it is looked for: databases differ in what that is.
    folded_name TEXT NOT NULL,
    description TEXT NOT NULL,
    developer TEXT NOT NULL REFERENCES developers (name),
    strategy TEXT NOT NULL,
    client_id TEXT,
    origin TEXT NOT NULL,
    provider TEXT,
    management TEXT,
    life TEXT NOT NULL,
    status TEXT NOT NULL,
    scopes TEXT NOT NULL,
    labels TEXT NOT NULL,
    credentials_valid_from BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    UNIQUE (strategy, client_id)
);
CREATE INDEX applications_by_revision ON applications (revision);
CREATE INDEX applications_by_time ON applications (created_at, id);
CREATE INDEX applications_by_client ON applications (client_id);
CREATE INDEX applications_by_developer ON applications (developer);

CREATE TABLE registrations (
    id TEXT PRIMARY KEY,
    application TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
    api TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    UNIQUE (application, api)
);
CREATE INDEX registrations_by_time ON registrations (created_at, id);
CREATE INDEX registrations_by_api ON registrations (api);

CREATE TABLE credentials (
    id TEXT PRIMARY KEY,
    application TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
    at_idp TEXT,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT
);
CREATE INDEX credentials_by_application ON credentials (application);

-- One session that ended by logout: session_id is set, until is when it is forgotten. All sessions of
-- a client that began before a time: session_id is empty, until is that time.
CREATE TABLE ended_sessions (
    strategy TEXT NOT NULL,
    client_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    until BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (strategy, client_id, session_id)
);
CREATE INDEX ended_sessions_by_revision ON ended_sessions (revision);

-- Clients that are no longer there.
CREATE TABLE gone (
    strategy TEXT NOT NULL,
    client_id TEXT NOT NULL,
    revision BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (strategy, client_id)
);
CREATE INDEX gone_by_revision ON gone (revision);

CREATE TABLE audit (
    id BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    request_id TEXT,
    action TEXT NOT NULL,
    subject_kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    before TEXT,
    after TEXT
);
CREATE INDEX audit_by_subject ON audit (subject, id);

-- An intent may come before its application, so this is no foreign key.
CREATE TABLE intents (
    id TEXT PRIMARY KEY,
    application TEXT NOT NULL UNIQUE,
    step TEXT NOT NULL,
    process TEXT NOT NULL,
    data TEXT,
    created_at BIGINT NOT NULL
);

CREATE TABLE answered (
    key TEXT PRIMARY KEY,
    request TEXT NOT NULL,
    subject_kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX answered_by_time ON answered (at);

-- Each process raises its own counter every second; one whose counter stands still is dead.
CREATE TABLE processes (
    id TEXT PRIMARY KEY,
    counter BIGINT NOT NULL
);
