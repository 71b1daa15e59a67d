//! ERP-like rows: two fifths ledger lines (ids that rise, money, dates), three fifths messages in HTML, which is what
//! fills an Odoo's database; about five to one under zstd.

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
    '<div><p>Dear Partner '||i%5000||',</p><p>'||(SELECT string_agg(sentence[1 + (i*7919 + k*104729 + k*i) % 24] || (i*k*31 + 17*i) % 100003, '. ')
      FROM generate_series(1, 14) k)||'.</p><p>Kind regards,<br/>Salesperson '||i%40||'</p></div>',
    i%5000, '<'||md5(i::text)||'@mail.example.com>', timestamp '2020-01-01' + i*interval '97 seconds'
  FROM generate_series(1::bigint, %MESSAGES%) i, (SELECT ARRAY[
    'please find attached the invoice for the goods that left our warehouse under delivery order ', 'the amount that is due in thirty days is EUR ',
    'our records show a payment that we could not match, with the reference ', 'the quotation that you asked for has the number ',
    'we have changed the delivery address as you wished, see ticket ', 'for questions about your subscription call us and give contract ',
    'the missing parts will be sent with the next shipment, which is planned as transfer ', 'a credit note was made for the returned items, number ',
    '<b>Note:</b> the price list has changed since your last order, the new one is version ', 'the technician will visit you for work order ',
    'you can sign the document online with the code ', 'the stock of this product is low, the next purchase order is ',
    'thank you for your order, which we have registered as ', 'the meeting about the project is moved to the room ',
    'the customer was called and asks for an offer for item ', 'stage changed from <i>New</i> to <i>Qualified</i> by user ',
    'an activity was planned for next week under ', 'the bank statement line was reconciled with journal entry ',
    'the time sheet of last month has the total ', 'your password for the portal was reset upon request ',
    'the manufacturing order is waiting for components of lot ', 'the expense report was approved and will be paid as ',
    'this message was sent automatically by rule ', 'the leave request was refused, see the comment in record '] AS sentence) words;";

/// Makes a database whose uncompressed dump is about this many megabytes.
pub fn erp(cluster: &PgCluster, name: &str, megabytes: f64) -> Result<()> {
    cluster.psql("postgres", &format!("CREATE DATABASE {}", quote_identifier(name)))?;
    cluster.psql(name, SCHEMA)?;
    // A line of account_move_line is about 190 bytes in a dump, a message about 1,130.
    let (lines, messages) = ((megabytes * 2_100.0) as u64, (megabytes * 540.0) as u64);
    let fill = FILL.replace("%LINES%", &lines.to_string()).replace("%MESSAGES%", &messages.to_string());
    cluster.psql(name, &fill)?;
    cluster.psql(name, "VACUUM ANALYZE; CHECKPOINT")?;
    Ok(())
}
