//! ERP-like rows: ids that rise, few distinct words, money, dates; about five to one under zstd.

use anyhow::Result;
use plana_testkit::pg::{PgCluster, quote_identifier};

const SCHEMA: &str = "
CREATE TABLE account_move_line (
    id bigint PRIMARY KEY, move_id bigint NOT NULL, account_id int NOT NULL, partner_id int, name text, ref text,
    debit numeric(16,2), credit numeric(16,2), currency text, state text, date date,
    create_uid int, create_date timestamp, write_uid int, write_date timestamp);
CREATE TABLE mail_message (
    id bigint PRIMARY KEY, model text, res_id bigint, subject text, body text, author_id int, message_id text, date timestamp);
CREATE TABLE res_partner (id int PRIMARY KEY, name text, email text, street text, city text, active bool);
INSERT INTO res_partner SELECT i, 'Partner '||i, 'contact'||i||'@example.com', i%200||' Main Street', 'City '||i%97, true FROM generate_series(1, 5000) i;";

const FILL: &str = "
INSERT INTO account_move_line SELECT i, i/4, 100+i%80, i%5000,
    (ARRAY['Invoice line for consulting services','Product delivery to the customer','Monthly subscription fee','Bank transfer received','Rounding difference'])[1+i%5]
      ||' '||(i*7919)%100000, 'INV/2026/'||lpad((i/4)::text, 7, '0'),
    ((i*7919)%1000000)/100.0, ((i*104729)%1000000)/100.0, 'EUR', 'posted', date '2020-01-01' + (i/4000)::int%2300,
    i%40, timestamp '2020-01-01' + i*interval '37 seconds', i%40, timestamp '2020-01-02' + i*interval '37 seconds'
  FROM generate_series(1::bigint, %LINES%) i;
INSERT INTO mail_message SELECT i, 'account.move', i/3, 'Re: your invoice INV/2026/'||i/3,
    '<p>Dear customer '||i%5000||',</p><p>please find attached the document number '||(i*7919)%1000003||' of '||(timestamp '2020-01-01' + i*interval '97 seconds')
      ||'. The amount due is '||((i*104729)%1000000)/100.0||' EUR, payable within 30 days.</p><p>Kind regards</p>',
    i%5000, '<'||md5(i::text)||'@mail.example.com>', timestamp '2020-01-01' + i*interval '97 seconds'
  FROM generate_series(1::bigint, %MESSAGES%) i;";

/// Makes a database whose uncompressed dump is about this many megabytes.
pub fn erp(cluster: &PgCluster, name: &str, megabytes: f64) -> Result<()> {
    cluster.psql("postgres", &format!("CREATE DATABASE {}", quote_identifier(name)))?;
    cluster.psql(name, SCHEMA)?;
    // A line of account_move_line is about 190 bytes in a dump, a message about 290.
    let (lines, messages) = ((megabytes * 2_650.0) as u64, (megabytes * 1_650.0) as u64);
    let fill = FILL.replace("%LINES%", &lines.to_string()).replace("%MESSAGES%", &messages.to_string());
    cluster.psql(name, &fill)?;
    cluster.psql(name, "VACUUM ANALYZE; CHECKPOINT")?;
    Ok(())
}
