-- Tables like those of the Exo control plane: events and audit rows by month, deployments that keep them for different times.
SET TimeZone = 'UTC';
CREATE TABLE deployments (id int PRIMARY KEY, retention_days int NOT NULL);
INSERT INTO deployments VALUES (1, 365), (2, 40), (3, 180);

CREATE TABLE session_events (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL, deployment_id int NOT NULL, body text, PRIMARY KEY (id, at))
  PARTITION BY RANGE (at);
CREATE TABLE audit_log (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL, actor text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);

-- Exo's own backend made months up to the last one, and not this one; the audit log has one of fourteen months ago.
DO $$ BEGIN
  FOR back IN 1..5 LOOP
    EXECUTE format('CREATE TABLE %I PARTITION OF session_events FOR VALUES FROM (%L) TO (%L)',
      to_char(date_trunc('month', now()) - back * interval '1 month', '"session_events_"YYYY_MM'),
      date_trunc('month', now()) - back * interval '1 month', date_trunc('month', now()) - (back - 1) * interval '1 month');
  END LOOP;
  FOR back IN 0..14 LOOP
    EXECUTE format('CREATE TABLE %I PARTITION OF audit_log FOR VALUES FROM (%L) TO (%L)',
      to_char(date_trunc('month', now()) - back * interval '1 month', '"audit_log_"YYYY_MM'),
      date_trunc('month', now()) - back * interval '1 month', date_trunc('month', now()) - (back - 1) * interval '1 month');
  END LOOP;
END $$;
INSERT INTO session_events (at, deployment_id, body)
  SELECT date_trunc('month', now()) - n * interval '1 hour', 1 + n % 3, 'event ' || n FROM generate_series(1, 3600) n;
INSERT INTO audit_log (at, actor)
  SELECT date_trunc('month', now()) - n * interval '1 day', 'somebody' FROM generate_series(-1, 420) n;
