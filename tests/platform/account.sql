-- plana_pulse_account: who the tenants are, and their tiers. The backup asks it with
--   SELECT database_name, tier FROM tenants
SET client_min_messages = warning;
SET ROLE plana;
CREATE TABLE tenants (
    id serial PRIMARY KEY,
    subdomain text NOT NULL UNIQUE,
    database_name text NOT NULL UNIQUE,
    tier text NOT NULL CHECK (tier IN ('starter', 'pro', 'enterprise')),
    odoo_version text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE invoices (id serial PRIMARY KEY, tenant_id integer NOT NULL REFERENCES tenants, period date NOT NULL, amount numeric(10, 2) NOT NULL);
