-- A tenant's database as Odoo would have it, for psql connected to it as a superuser.
--   scale   about how many invoices; the other tables follow
--   tenant  the subdomain: two tenants have different data, the same tenant always the same
SET client_min_messages = warning;
SET ROLE plana;

-- Extensions that Odoo asks for, where the server has them.
RESET ROLE;
SELECT format('CREATE EXTENSION IF NOT EXISTS %I', name) FROM pg_available_extensions WHERE name IN ('pg_trgm', 'unaccent')
\gexec
SET ROLE plana;

CREATE TYPE account_move_state AS ENUM ('draft', 'posted', 'cancel');
CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%');

CREATE TABLE res_company (
    id serial PRIMARY KEY,
    name varchar NOT NULL UNIQUE,
    currency_id integer,
    logo bytea,
    create_date timestamp DEFAULT (now() AT TIME ZONE 'utc')
);
CREATE TABLE res_partner (
    id serial PRIMARY KEY,
    company_id integer,
    parent_id integer,
    name varchar NOT NULL,
    display_name varchar,
    email email,
    vat varchar,
    street varchar,
    city varchar,
    lang varchar DEFAULT 'en_US',
    credit_limit numeric(16, 2) DEFAULT 0,
    is_company boolean DEFAULT false,
    comment text,
    create_date timestamp,
    write_date timestamp
);
CREATE TABLE res_users (
    id serial PRIMARY KEY,
    login varchar NOT NULL UNIQUE,
    password varchar,
    partner_id integer NOT NULL,
    company_id integer NOT NULL,
    active boolean DEFAULT true,
    signature text
);
CREATE TABLE res_users_log (id serial PRIMARY KEY, create_uid integer, create_date timestamp);
CREATE TABLE ir_sequence (
    id serial PRIMARY KEY,
    name varchar NOT NULL,
    code varchar,
    implementation varchar NOT NULL DEFAULT 'standard',
    prefix varchar,
    number_next integer NOT NULL DEFAULT 1
);
CREATE SEQUENCE ir_sequence_001;
CREATE SEQUENCE ir_sequence_002 INCREMENT 10 CACHE 5;
CREATE TABLE ir_config_parameter (id serial PRIMARY KEY, key varchar NOT NULL UNIQUE, value text);
CREATE TABLE ir_attachment (
    id serial PRIMARY KEY,
    name varchar NOT NULL,
    res_model varchar,
    res_id integer,
    type varchar NOT NULL DEFAULT 'binary',
    store_fname varchar,
    checksum varchar(40),
    file_size integer,
    mimetype varchar,
    db_datas bytea,
    index_content text,
    create_date timestamp DEFAULT (now() AT TIME ZONE 'utc')
);
CREATE TABLE account_move (
    id serial PRIMARY KEY,
    name varchar,
    company_id integer NOT NULL,
    partner_id integer,
    state account_move_state NOT NULL DEFAULT 'draft',
    move_type varchar NOT NULL,
    invoice_date date,
    amount_untaxed numeric(16, 2),
    amount_tax numeric(16, 2),
    amount_total numeric(16, 2) GENERATED ALWAYS AS (amount_untaxed + amount_tax) STORED,
    narration text,
    create_uid integer,
    create_date timestamptz,
    write_date timestamptz
);
CREATE TABLE account_move_line (
    id bigserial PRIMARY KEY,
    move_id integer NOT NULL,
    partner_id integer,
    sequence integer,
    name varchar,
    quantity numeric,
    price_unit numeric,
    debit numeric(16, 2),
    credit numeric(16, 2),
    analytic_distribution jsonb,
    date date
);
CREATE TABLE mail_message (
    id bigserial PRIMARY KEY,
    model varchar,
    res_id integer,
    message_type varchar NOT NULL,
    author_id integer,
    subject varchar,
    body text,
    message_id varchar,
    date timestamp
);
CREATE TABLE product_template (
    id serial PRIMARY KEY,
    name jsonb NOT NULL,
    default_code varchar,
    list_price numeric,
    image bytea,
    active boolean DEFAULT true
);
-- Inheritance, a table that no crash survives, one without columns, and one that is always empty: a dump has them too.
CREATE TABLE plana_log (id bigserial, level varchar, message text, at timestamptz DEFAULT now());
CREATE TABLE plana_log_archive (archived_at timestamptz DEFAULT now()) INHERITS (plana_log);
CREATE UNLOGGED TABLE bus_bus (id serial PRIMARY KEY, channel varchar, message jsonb);
CREATE TABLE plana_marker ();
CREATE TABLE fetchmail_server (id serial PRIMARY KEY, name varchar);

INSERT INTO res_company (name, currency_id, logo)
SELECT initcap(:'tenant') || ' ' || suffix, 1, decode(md5(:'tenant' || suffix), 'hex') FROM unnest(ARRAY['Ltd', 'GmbH']) AS suffix;

INSERT INTO res_partner (company_id, parent_id, name, display_name, email, vat, street, city, credit_limit, is_company, comment, create_date, write_date)
SELECT 1 + i % 2,
       CASE WHEN i > 10 AND i % 3 = 0 THEN 1 + i % 10 END,
       'Partner ' || i,
       'Partner ' || i || ', ' || (ARRAY['Sofia', 'Zürich', 'København', 'Łódź', '東京', 'São Paulo'])[1 + i % 6],
       'partner' || i || '@' || :'tenant' || '.example',
       CASE WHEN i % 4 = 0 THEN 'BG' || (100000000 + i) END,
       i || ' Vitosha Blvd.',
       (ARRAY['Sofia', 'Zürich', 'København', 'Łódź', '東京', 'São Paulo'])[1 + i % 6],
       (i % 50) * 100.5,
       i <= 10,
       CASE WHEN i % 7 = 0 THEN E'first line\nsecond\tline with a backslash \\ and a \\. of its own' END,
       timestamp '2024-01-01' + i * interval '37 minutes',
       timestamp '2025-01-01' + i * interval '11 minutes'
FROM generate_series(1, 20 + :scale / 5) AS i;

INSERT INTO res_users (login, password, partner_id, company_id, signature)
SELECT CASE i WHEN 1 THEN 'admin' ELSE 'user' || i || '@' || :'tenant' || '.example' END,
       '$pbkdf2-sha512$600000$' || md5(:'tenant' || i) || '$' || md5(i || :'tenant'),
       i, 1 + i % 2, '<p>--<br/>User ' || i || '</p>'
FROM generate_series(1, 15) AS i;
INSERT INTO res_users_log (create_uid, create_date) SELECT 1 + i % 15, timestamp '2025-06-01' + i * interval '1 hour' FROM generate_series(1, 200) AS i;

INSERT INTO ir_sequence (name, code, prefix) VALUES ('Invoices', 'account.move', 'INV/%(year)s/'), ('Orders', 'sale.order', 'SO');
SELECT setval('ir_sequence_001', 1 + :scale), setval('ir_sequence_002', 11 + 10 * :scale) \g /dev/null
INSERT INTO ir_config_parameter (key, value)
VALUES ('database.uuid', md5(:'tenant')::uuid), ('web.base.url', 'https://' || :'tenant' || '.planapulse.app'), ('empty', ''), ('null', NULL);

INSERT INTO product_template (name, default_code, list_price, image)
SELECT jsonb_build_object('en_US', 'Product ' || i, 'bg_BG', 'Продукт ' || i), 'P' || lpad(i::text, 5, '0'), (i % 900) + 0.99,
       CASE WHEN i % 5 = 0 THEN decode(repeat(md5(:'tenant' || i), 32), 'hex') END
FROM generate_series(1, 10 + :scale / 20) AS i;

INSERT INTO account_move (name, company_id, partner_id, state, move_type, invoice_date, amount_untaxed, amount_tax, narration, create_uid, create_date, write_date)
SELECT 'INV/' || (2024 + i % 3) || '/' || lpad(i::text, 6, '0'), 1 + i % 2, 1 + i % (20 + :scale / 5),
       (ARRAY['draft', 'posted', 'posted', 'posted', 'cancel'])[1 + i % 5]::account_move_state,
       (ARRAY['out_invoice', 'in_invoice', 'entry'])[1 + i % 3], date '2024-01-01' + i % 900, (i * 7919 % 100000) / 100.0, (i * 7919 % 100000) / 500.0,
       CASE WHEN i % 10 = 0 THEN 'Payment within 30 days. Reference ' || md5(:'tenant' || i) END,
       1 + i % 15, timestamptz '2024-01-01 00:00+00' + i * interval '13 minutes', timestamptz '2024-01-02 00:00+00' + i * interval '13 minutes'
FROM generate_series(1, :scale) AS i;

INSERT INTO account_move_line (move_id, partner_id, sequence, name, quantity, price_unit, debit, credit, analytic_distribution, date)
SELECT i, 1 + i % (20 + :scale / 5), line, '[P' || lpad((i * line % 9000)::text, 5, '0') || '] Product ' || (i * line % 9000), 1 + i % 12, (i * 31 % 90000) / 100.0,
       CASE line % 2 WHEN 0 THEN (i * 31 % 90000) / 100.0 ELSE 0 END, CASE line % 2 WHEN 1 THEN (i * 31 % 90000) / 100.0 ELSE 0 END,
       CASE WHEN line = 2 THEN jsonb_build_object((i % 40)::text, 100) END, date '2024-01-01' + i % 900
FROM generate_series(1, :scale) AS i, generate_series(1, 4) AS line;

INSERT INTO mail_message (model, res_id, message_type, author_id, subject, body, message_id, date)
SELECT 'account.move', i, (ARRAY['notification', 'comment', 'email'])[n], 1 + i % (20 + :scale / 5), CASE n WHEN 3 THEN 'Invoice ' || i END,
       '<p>' || (ARRAY['The invoice was sent to the customer', 'Payment received, thank you', 'Please check the amounts below', 'Reminder: this invoice is due'])[1 + (i + n) % 4]
       || ' on ' || (date '2024-01-01' + i % 900) || '.</p><p>Reference ' || md5(:'tenant' || i || n) || '</p>',
       '<' || md5(n || :'tenant' || i) || '@' || :'tenant' || '.planapulse.app>', timestamp '2024-01-01' + i * interval '13 minutes'
FROM generate_series(1, :scale) AS i, generate_series(1, 3) AS n;

INSERT INTO plana_log (level, message) SELECT 'info', 'line ' || i FROM generate_series(1, 30) AS i;
INSERT INTO plana_log_archive (level, message) SELECT 'info', 'old line ' || i FROM generate_series(1, 20) AS i;
INSERT INTO plana_marker DEFAULT VALUES;
INSERT INTO bus_bus (channel, message) SELECT 'broadcast', jsonb_build_object('n', i) FROM generate_series(1, 10) AS i;
-- An attachment that Odoo keeps in the database.
INSERT INTO ir_attachment (name, res_model, db_datas, checksum, file_size, mimetype)
VALUES ('web.assets.js', 'ir.ui.view', convert_to(repeat('function f() {}' || chr(10), 500), 'UTF8'), NULL, 8000, 'text/javascript');
SELECT lo_from_bytea(0, convert_to(repeat('A signed contract of ' || :'tenant' || '. ', 300), 'UTF8')) \g /dev/null

CREATE INDEX account_move_partner_id_index ON account_move (partner_id);
CREATE INDEX account_move_posted_index ON account_move (invoice_date) WHERE state = 'posted';
CREATE UNIQUE INDEX account_move_name_index ON account_move (name, company_id);
CREATE INDEX account_move_line_move_id_index ON account_move_line (move_id);
CREATE INDEX mail_message_model_res_id_index ON mail_message (model, res_id);
CREATE INDEX ir_attachment_res_index ON ir_attachment (res_model, res_id);
CREATE INDEX res_partner_lower_index ON res_partner (lower(name));
ALTER TABLE res_partner
    ADD FOREIGN KEY (company_id) REFERENCES res_company (id),
    ADD FOREIGN KEY (parent_id) REFERENCES res_partner (id) ON DELETE SET NULL;
ALTER TABLE res_users ADD FOREIGN KEY (partner_id) REFERENCES res_partner (id), ADD FOREIGN KEY (company_id) REFERENCES res_company (id);
ALTER TABLE account_move ADD FOREIGN KEY (company_id) REFERENCES res_company (id), ADD FOREIGN KEY (partner_id) REFERENCES res_partner (id);
ALTER TABLE account_move_line ADD FOREIGN KEY (move_id) REFERENCES account_move (id) ON DELETE CASCADE;
ALTER TABLE mail_message ADD FOREIGN KEY (author_id) REFERENCES res_partner (id) ON DELETE SET NULL;

CREATE MATERIALIZED VIEW account_invoice_report AS
SELECT partner_id, date_trunc('month', invoice_date) AS month, count(*) AS invoices, sum(amount_total) AS total
FROM account_move WHERE state = 'posted' GROUP BY 1, 2;
CREATE UNIQUE INDEX ON account_invoice_report (partner_id, month);
CREATE VIEW sale_report AS SELECT m.id, m.name, l.price_unit FROM account_move m JOIN account_move_line l ON l.move_id = m.id;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.write_date := now(); RETURN NEW; END $$;
CREATE TRIGGER res_partner_touch BEFORE UPDATE ON res_partner FOR EACH ROW EXECUTE FUNCTION touch();
COMMENT ON TABLE account_move IS 'Invoices; "quoted", and with a backslash \';
