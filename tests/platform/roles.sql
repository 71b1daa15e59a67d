-- The owner roles of the platform; safe to repeat.
SELECT format('CREATE ROLE %I LOGIN PASSWORD %L', name, name || ' of the demo')
FROM unnest(ARRAY['plana', 'authentik', 'forgejo', 'nextcloud', 'vaultwarden', 'openphysica']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec
