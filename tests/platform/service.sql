-- A platform service's database (authentik, forgejo, nextcloud, vaultwarden, an external client's site).
--   scale  about how many rows in its largest table
--   owner  its role
SET client_min_messages = warning;
SET ROLE :"owner";
CREATE SCHEMA audit;
CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid uuid NOT NULL DEFAULT gen_random_uuid(),
    name text NOT NULL UNIQUE,
    secret bytea,
    settings jsonb NOT NULL DEFAULT '{}'
);
CREATE TABLE items (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id bigint REFERENCES users, title text, body text, changed_at timestamptz NOT NULL);
CREATE TABLE audit.events (at timestamptz NOT NULL, user_id bigint, action text, detail jsonb) PARTITION BY RANGE (at);
CREATE TABLE audit.events_2025 PARTITION OF audit.events FOR VALUES FROM ('2025-01-01 00:00+00') TO ('2026-01-01 00:00+00');
CREATE TABLE audit.events_2026 PARTITION OF audit.events FOR VALUES FROM ('2026-01-01 00:00+00') TO ('2027-01-01 00:00+00');

INSERT INTO users (name, secret, settings)
SELECT 'user-' || i, sha256(convert_to(:'owner' || i, 'UTF8')), jsonb_build_object('theme', 'dark', 'n', i) FROM generate_series(1, 10 + :scale / 10) AS i;
INSERT INTO items (user_id, title, body, changed_at)
SELECT 1 + i % (10 + :scale / 10), 'Item ' || i, repeat('Some text of item ' || i || '. ', 5), timestamptz '2025-01-01 00:00+00' + i * interval '1 hour'
FROM generate_series(1, :scale) AS i;
INSERT INTO audit.events (at, user_id, action, detail)
SELECT timestamptz '2025-01-01 00:00+00' + (i % 700) * interval '1 day', 1 + i % 10, 'login', jsonb_build_object('ip', '10.10.0.' || i % 250)
FROM generate_series(1, :scale) AS i;
CREATE INDEX ON items (changed_at);
