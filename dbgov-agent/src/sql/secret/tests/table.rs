//! Statements with a secret: the letters `Geheim7`, however they are quoted. Behind each, what has to stay of it.

pub(super) const TABLE: &[(&str, &[&str])] = &[
    // Roles.
    (
        "CREATE ROLE app PASSWORD 'Geheim7'",
        &["CREATE ROLE app PASSWORD '***'"],
    ),
    (
        "CREATE ROLE app LOGIN PASSWORD 'Geheim7' VALID UNTIL '2027-01-01'",
        &["VALID UNTIL '2027-01-01'"],
    ),
    (
        "CREATE USER app WITH PASSWORD 'Geheim7' CREATEDB",
        &["app WITH PASSWORD '***' CREATEDB"],
    ),
    (
        "CREATE USER app WITH ENCRYPTED PASSWORD 'Geheim7'",
        &["ENCRYPTED PASSWORD '***'"],
    ),
    (
        "CREATE USER app WITH UNENCRYPTED PASSWORD 'Geheim7'",
        &["UNENCRYPTED"],
    ),
    ("CREATE GROUP app PASSWORD 'Geheim7'", &["CREATE GROUP app"]),
    (
        "alter role app password 'Geheim7'",
        &["alter role app password '***'"],
    ),
    ("ALTER USER app PASSWORD 'Geheim7'", &["ALTER USER app"]),
    (
        "ALTER USER \"app\" PASSWORD 'Geheim7'",
        &["ALTER USER \"app\""],
    ),
    ("ALTER GROUP app PASSWORD 'Geheim7'", &[]),
    ("ALTER ROLE CURRENT_USER PASSWORD 'Geheim7'", &[]),
    ("ALTER ROLE app PASSWORD E'Geheim7'", &["E'***'"]),
    ("ALTER ROLE app PASSWORD E'Geheim7\\''", &["E'***'"]),
    ("ALTER ROLE app PASSWORD E'\\'Geheim7'", &["E'***'"]),
    ("ALTER ROLE app PASSWORD 'it''s Geheim7'", &["'***'"]),
    ("ALTER ROLE app PASSWORD U&'Geheim7'", &["U&'***'"]),
    ("ALTER ROLE app PASSWORD U&'\\0047eheim7'", &["U&'***'"]),
    ("ALTER ROLE app PASSWORD U&'!0047eheim7' UESCAPE '!'", &[]),
    ("ALTER ROLE app PASSWORD $$Geheim7$$", &["$$***$$"]),
    ("ALTER ROLE app PASSWORD $pw$Geheim7$pw$", &["$pw$***$pw$"]),
    (
        "ALTER ROLE app PASSWORD $pw$it's Geheim7 $$ $pw$",
        &["$pw$***$pw$"],
    ),
    ("ALTER ROLE app PASSWORD 'Geh'\n'eim7'", &["PASSWORD '***'"]),
    (
        "ALTER ROLE app PASSWORD 'Gehei' -- first\n  'm7 Geheim7'",
        &["PASSWORD '***'"],
    ),
    ("ALTER ROLE app PASSWORD N'Geheim7'", &["N'***'"]),
    ("ALTER ROLE app PASSWORD/**/'Geheim7'", &["ALTER ROLE app"]),
    (
        "ALTER ROLE app PASSWORD /* the new one */ 'Geheim7'",
        &["ALTER ROLE app"],
    ),
    (
        "ALTER ROLE app PASSWORD -- the new one\n'Geheim7'",
        &["ALTER ROLE app"],
    ),
    (
        "ALTER/**/ROLE\napp\tPassWord\n'Geheim7'",
        &["ALTER/**/ROLE\napp\tPassWord\n'***'"],
    ),
    (
        "BEGIN; ALTER ROLE app PASSWORD 'Geheim7'; SELECT 'kept'; COMMIT",
        &["SELECT 'kept'", "BEGIN", "COMMIT"],
    ),
    ("SELECT 1; ALTER ROLE app PASSWORD 'Geheim7'", &["SELECT 1"]),
    (
        "ALTER ROLE app PASSWORD 'SCRAM-SHA-256$4096:Geheim7$a:b'",
        &["'***'"],
    ),
    ("ALTER ROLE app PASSWORD 'md5Geheim7'", &["'***'"]),
    ("EXPLAIN ALTER ROLE app PASSWORD 'Geheim7'", &["EXPLAIN"]),
    ("ALTER ROLE app PASSWORD ('Geheim7')", &[]),
    (
        "ALTER ROLE app PASWORD 'Geheim7'; SELECT 'kept'",
        &["ALTER ROLE app PASWORD '***'; SELECT 'kept'"],
    ),
    (
        "CREATE USER bob IDENTIFED BY 'Geheim7'",
        &["CREATE USER bob IDENTIFED BY '***'"],
    ),
    (
        "ALTER ROLE app PASSWORD Geheim7",
        &["ALTER ROLE app PASSWORD ***"],
    ),
    (
        "ALTER ROLE app WITH PASSWORD a!Geheim7$ CREATEDB; SELECT 'kept'",
        &["ALTER ROLE app WITH PASSWORD ***; SELECT 'kept'"],
    ),
    (
        "CREATE ROLE app PASSWORD 7Geheim7",
        &["CREATE ROLE app PASSWORD ***"],
    ),
    (
        "CREATE USER bob IDENTIFIED BY Geheim7",
        &["CREATE USER bob IDENTIFIED BY ***"],
    ),
    ("SET PASSWORD = Geheim7", &["SET PASSWORD = ***"]),
    // MySQL.
    ("SET PASSWORD = 'Geheim7'", &["SET PASSWORD = '***'"]),
    (
        "SET PASSWORD FOR 'bob'@'%' = 'Geheim7'",
        &["SET PASSWORD FOR"],
    ),
    (
        "SET PASSWORD FOR bob = PASSWORD('Geheim7')",
        &["PASSWORD('***')"],
    ),
    (
        "SET PASSWORD FOR bob = PASSWORD(\"Geheim7\")",
        &["PASSWORD("],
    ),
    ("SET PASSWORD FOR bob = OLD_PASSWORD('Geheim7')", &[]),
    ("SET PASSWORD = \"Geheim7\"", &["SET PASSWORD = \"***\""]),
    (
        "SET PASSWORD TO 'Geheim7' REPLACE 'old Geheim7'",
        &["SET PASSWORD TO"],
    ),
    (
        "CREATE USER 'bob'@'%' IDENTIFIED BY 'Geheim7'",
        &["IDENTIFIED BY '***'"],
    ),
    (
        "CREATE USER bob IDENTIFIED BY PASSWORD 'Geheim7'",
        &["IDENTIFIED BY PASSWORD '***'"],
    ),
    (
        "CREATE USER bob IDENTIFIED BY \"Geheim7\"",
        &["IDENTIFIED BY \"***\""],
    ),
    (
        "CREATE USER bob IDENTIFIED BY \"a\\\"Geheim7\" REQUIRE SSL",
        &["CREATE USER bob "],
    ),
    (
        "CREATE USER bob IDENTIFIED BY 'a\\'Geheim7'",
        &["CREATE USER bob "],
    ),
    (
        "CREATE USER bob IDENTIFIED WITH mysql_native_password AS 'Geheim7'",
        &["mysql_native_password"],
    ),
    (
        "CREATE USER bob IDENTIFIED WITH caching_sha2_password BY 'Geheim7'",
        &["caching_sha2_password"],
    ),
    (
        "CREATE USER bob IDENTIFIED WITH caching_sha2_password BY \"Geheim7\"",
        &["caching_sha2_password"],
    ),
    (
        "CREATE USER bob IDENTIFIED VIA ed25519 USING PASSWORD('Geheim7')",
        &["ed25519"],
    ),
    (
        "ALTER USER bob IDENTIFIED BY 'Geheim7' REPLACE 'Geheim7old'",
        &["ALTER USER bob"],
    ),
    (
        "GRANT ALL ON *.* TO bob IDENTIFIED BY 'Geheim7'",
        &["GRANT ALL ON *.* TO bob"],
    ),
    (
        "CHANGE MASTER TO MASTER_HOST='h', MASTER_PASSWORD='Geheim7'",
        &["MASTER_PASSWORD='***'"],
    ),
    (
        "CHANGE REPLICATION SOURCE TO SOURCE_PASSWORD = \"Geheim7\"",
        &[],
    ),
    (
        "SELECT AES_ENCRYPT('text', 'Geheim7')",
        &["SELECT AES_ENCRYPT("],
    ),
    // Servers, mappings, subscriptions.
    (
        "CREATE USER MAPPING FOR app SERVER s OPTIONS (user 'bob', password 'Geheim7')",
        &["user 'bob', password '***'"],
    ),
    (
        "CREATE USER MAPPING FOR app SERVER s OPTIONS (pin 'Geheim7')",
        &["pin '***'"],
    ),
    (
        "ALTER USER MAPPING FOR app SERVER s OPTIONS (SET password 'Geheim7')",
        &["SET password '***'"],
    ),
    (
        "CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (host 'db-2', api_key 'Geheim7')",
        &["host 'db-2'"],
    ),
    (
        "CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (sslpassword 'Geheim7')",
        &[],
    ),
    (
        "CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (client_secret 'Geheim7', token 'Geheim7')",
        &[],
    ),
    (
        "ALTER SERVER s OPTIONS (ADD passphrase 'Geheim7')",
        &["ADD passphrase '***'"],
    ),
    ("ALTER SERVER s OPTIONS (SET \"secret\" 'Geheim7')", &[]),
    (
        "CREATE FOREIGN TABLE t (a int) SERVER s OPTIONS (token 'Geheim7')",
        &["FOREIGN TABLE t"],
    ),
    (
        "CREATE FOREIGN DATA WRAPPER w OPTIONS (encryption_key 'Geheim7')",
        &[],
    ),
    (
        "CREATE SUBSCRIPTION s CONNECTION 'host=db-2 user=r password=Geheim7' PUBLICATION p",
        &["CONNECTION 'host=db-2 user=r password=***' PUBLICATION p"],
    ),
    (
        "ALTER SUBSCRIPTION s CONNECTION 'password=Geheim7 host=db-2'",
        &["'password=*** host=db-2'"],
    ),
    (
        "ALTER SUBSCRIPTION s CONNECTION 'host=h password=''a Geheim7'''",
        &["ALTER SUBSCRIPTION s CONNECTION '***'"],
    ),
    (
        "CREATE SUBSCRIPTION s CONNECTION 'postgres://r:Geheim7@db-2/x' PUBLICATION p",
        &["'postgres://r:***@db-2/x'"],
    ),
    (
        "CREATE SUBSCRIPTION s CONNECTION 'postgres://r@db-2/x?password=Geheim7' PUBLICATION p",
        &["?password=***'"],
    ),
    (
        "ALTER SYSTEM SET primary_conninfo = 'host=h password=Geheim7'",
        &["'host=h password=***'"],
    ),
    (
        "ALTER SYSTEM SET primary_conninfo TO 'user=u password = Geheim7'",
        &["primary_conninfo TO"],
    ),
    // dblink.
    (
        "SELECT dblink_connect('host=h user=u password=Geheim7')",
        &["'host=h user=u password=***'"],
    ),
    (
        "SELECT dblink_connect('c', 'host=h password=Geheim7')",
        &["dblink_connect('c',"],
    ),
    (
        "SELECT * FROM dblink('password=Geheim7 dbname=d', 'SELECT a FROM t') AS t(a int)",
        &["'SELECT a FROM t'"],
    ),
    (
        "SELECT dblink_connect('host=h ' || 'password=' || 'Geheim7')",
        &["dblink_connect("],
    ),
    (
        "SELECT dblink_connect('host=h password=' || 'Geheim7')",
        &["dblink_connect("],
    ),
    (
        "SELECT dblink_connect(concat('host=h password=Gehei', 'm7 Geheim7'))",
        &["dblink_connect("],
    ),
    (
        "SELECT dblink_connect(format('host=h password=%s', 'Geheim7'))",
        &["dblink_connect("],
    ),
    (
        "SELECT dblink_connect($$host=h password=Geheim7$$)",
        &["$$host=h password=***$$"],
    ),
    (
        "SELECT dblink_connect(E'host=h password=Geheim7')",
        &["E'host=h password=***'"],
    ),
    (
        "SELECT dblink_connect(E'host=h \\x70assword=Geheim7')",
        &["dblink_connect("],
    ),
    (
        "SELECT dblink_connect(U&'host=h !0070assword=Geheim7' UESCAPE '!')",
        &["dblink_connect("],
    ),
    (
        "SELECT dblink_connect('host=h pass'\n'word=Geheim7')",
        &["dblink_connect("],
    ),
    (
        "SELECT dblink_exec('postgresql://u:Geheim7@h/d', 'DELETE FROM t')",
        &["'DELETE FROM t'"],
    ),
    (
        "SELECT dblink_exec('c', 'ALTER ROLE app PASSWORD ''Geheim7''')",
        &["dblink_exec("],
    ),
    (
        "SELECT lo_import('https://u:Geheim7@h/file')",
        &["'https://u:***@h/file'"],
    ),
    (
        "INSERT INTO urls VALUES ('see postgres://u:Geheim7@h/d for more')",
        &["INSERT INTO urls VALUES ("],
    ),
    (
        "SELECT fetch('https://h/cb?access_token=Geheim7&x=1')",
        &["access_token=***&x=1"],
    ),
    (
        "SELECT connect('jdbc:postgresql://h/d?user=u&password=Geheim7')",
        &["password=***'"],
    ),
    // Settings.
    (
        "SET app.password = 'Geheim7'",
        &["SET app.password = '***'"],
    ),
    (
        "SET LOCAL app.jwt_secret TO 'Geheim7'",
        &["SET LOCAL app.jwt_secret TO '***'"],
    ),
    ("SET SESSION app.token = 'Geheim7'", &[]),
    (
        "SET app.encryption_key = 'Geheim7'",
        &["app.encryption_key = '***'"],
    ),
    ("SET \"app.apiKey\" = 'Geheim7'", &[]),
    (
        "ALTER ROLE app SET app.secret = 'Geheim7'",
        &["ALTER ROLE app SET app.secret = '***'"],
    ),
    (
        "ALTER DATABASE d SET app.api_key TO 'Geheim7'",
        &["ALTER DATABASE d"],
    ),
    (
        "ALTER SYSTEM SET ssl_passphrase_command = 'echo Geheim7'",
        &["ALTER SYSTEM SET ssl_passphrase_command"],
    ),
    (
        "SELECT set_config('app.secret', 'Geheim7', false)",
        &["set_config('app.secret', '***', false)"],
    ),
    (
        "SELECT pg_catalog.set_config('app.key', 'Geheim7', true)",
        &["set_config('app.key', '***', true)"],
    ),
    (
        "SELECT set_config('app.' || 'secret', 'Geheim7', true)",
        &["set_config("],
    ),
    (
        "SELECT set_config(name, 'Geheim7', true) FROM s",
        &["set_config(name, '***', true)"],
    ),
    // COPY ... PROGRAM and the like.
    (
        "COPY t FROM PROGRAM 'curl --password=Geheim7 https://h/'",
        &["COPY t FROM PROGRAM"],
    ),
    (
        "COPY t TO PROGRAM 'PGPASSWORD=Geheim7 psql -h h'",
        &["COPY t TO PROGRAM"],
    ),
    (
        "COPY t FROM PROGRAM 'curl https://u:Geheim7@h/data.csv'",
        &["COPY t FROM PROGRAM"],
    ),
    (
        "COPY t FROM PROGRAM 'curl -H \"Authorization: Bearer Geheim7\" https://h/'",
        &["COPY t FROM PROGRAM"],
    ),
    // pgcrypto.
    (
        "SELECT crypt('Geheim7', gen_salt('bf'))",
        &["SELECT crypt('***'"],
    ),
    (
        "SELECT pgp_sym_encrypt('text', 'Geheim7')",
        &["pgp_sym_encrypt("],
    ),
    (
        "SELECT pgp_sym_decrypt(data, 'Geheim7') FROM t WHERE id = 5",
        &["pgp_sym_decrypt(data, '***') FROM t WHERE id = 5"],
    ),
    (
        "SELECT public.pgp_pub_decrypt(data, dearmor('Geheim7'), 'Geheim7') FROM t",
        &["FROM t"],
    ),
    (
        "SELECT hmac(data, 'Geheim7', 'sha256') FROM t",
        &["SELECT hmac(data, '***'"],
    ),
    ("SELECT encrypt(data, 'Geheim7'::bytea, 'aes') FROM t", &[]),
    (
        "SELECT decrypt_iv(data, 'Geheim7', 'Geheim7', 'aes') FROM t",
        &[],
    ),
    (
        "UPDATE users SET hash = crypt('Geheim7', hash) WHERE id = 7",
        &["WHERE id = 7"],
    ),
    // Columns.
    (
        "UPDATE users SET password = 'Geheim7' WHERE id = 7",
        &["SET password = '***' WHERE id = 7"],
    ),
    ("UPDATE users SET \"passwordHash\" = 'Geheim7'", &[]),
    (
        "UPDATE users SET password = \"Geheim7\"",
        &["SET password = \"***\""],
    ),
    (
        "INSERT INTO users (name, password) VALUES ('bob', 'Geheim7')",
        &["INSERT INTO users (name, password) VALUES ("],
    ),
    (
        "INSERT INTO api (token) SELECT 'Geheim7'",
        &["INSERT INTO api (token) SELECT '***'"],
    ),
    (
        "SELECT id FROM sessions WHERE token = 'Geheim7'",
        &["WHERE token = '***'"],
    ),
    (
        "SELECT id FROM sessions WHERE 'Geheim7' = access_token",
        &["WHERE '***' = access_token"],
    ),
    (
        "SELECT login('bob', password => 'Geheim7')",
        &["password => '***'"],
    ),
    (
        "SELECT 'Geheim7' AS password",
        &["SELECT '***' AS password"],
    ),
    (
        "INSERT INTO log VALUES ('{\"user\": \"bob\", \"password\": \"Geheim7\"}')",
        &["INSERT INTO log VALUES ("],
    ),
    (
        "INSERT INTO log VALUES ($${\"api_key\": \"Geheim7\"}$$)",
        &["INSERT INTO log VALUES ("],
    ),
    (
        "INSERT INTO log VALUES ('<password>Geheim7</password>')",
        &[],
    ),
    ("SELECT '{\"token\": \"Geheim7\"}'::jsonb", &["::jsonb"]),
    (
        "SELECT 1 WHERE pin_token = x'00' OR passwd = 'Geheim7'",
        &[],
    ),
    // Code.
    (
        "DO $$ BEGIN ALTER ROLE app PASSWORD 'Geheim7'; END $$",
        &["DO $$ BEGIN ALTER ROLE app PASSWORD '***'; END $$"],
    ),
    (
        "DO $do$ BEGIN EXECUTE 'ALTER ROLE app PASSWORD ''Geheim7'''; END $do$",
        &["BEGIN EXECUTE '***'; END"],
    ),
    (
        "DO $$ BEGIN EXECUTE format('ALTER ROLE %I PASSWORD %L', 'app', 'Geheim7'); END $$",
        &["EXECUTE format("],
    ),
    (
        "DO $$ DECLARE x text := 'Geheim7'; BEGIN EXECUTE format('ALTER ROLE app PASSWORD %L', x); END $$",
        &["DECLARE x text := '***'"],
    ),
    (
        "DO $$ BEGIN EXECUTE 'ALTER ROLE app PASSWORD ' || quote_literal('Geheim7'); END $$",
        &["|| quote_literal('***')"],
    ),
    (
        "DO $$ BEGIN EXECUTE $x$ALTER ROLE app PASSWORD 'Geheim7'$x$; END $$",
        &["EXECUTE $x$ALTER ROLE app PASSWORD '***'$x$"],
    ),
    (
        "DO 'BEGIN ALTER ROLE app PASSWORD ''Geheim7''; END'",
        &["DO '***'"],
    ),
    (
        "DO E'BEGIN ALTER ROLE app \\x50ASSWORD \\'Geheim7\\'; END'",
        &["DO E'***'"],
    ),
    (
        "DO LANGUAGE plpgsql $$ BEGIN PERFORM dblink_connect('host=h password=Geheim7'); END $$",
        &["PERFORM dblink_connect('host=h password=***')"],
    ),
    (
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ ALTER ROLE app PASSWORD 'Geheim7' $$",
        &["CREATE FUNCTION f()"],
    ),
    (
        "CREATE FUNCTION f() RETURNS void LANGUAGE 'plpgsql' AS 'BEGIN ALTER ROLE app PASSWORD ''Geheim7''; END'",
        &["LANGUAGE 'plpgsql'"],
    ),
    (
        "CREATE PROCEDURE p() BEGIN ATOMIC SELECT set_config('a.secret', 'Geheim7', false); END",
        &["CREATE PROCEDURE p()"],
    ),
    (
        "SELECT run($$ALTER ROLE app PASSWORD %L$$, 'Geheim7')",
        &["$$ALTER ROLE app PASSWORD %L$$, '***'"],
    ),
    (
        "SELECT run($$ALTER ROLE app PASSWORD %L$$, $$Geheim7$$)",
        &["SELECT run("],
    ),
    (
        "SELECT run('ALTER ROLE app PASSWORD $1', 'Geheim7')",
        &["SELECT run("],
    ),
    (
        "SELECT run('ALTER ROLE app PASSWORD ?', 'Geheim7')",
        &["SELECT run("],
    ),
    (
        "SELECT run('ALTER ROLE app ' || 'PASSWORD ' || 'Geheim7')",
        &["SELECT run("],
    ),
    (
        "SELECT run('CREATE USER bob IDENTIFIED BY ', 'Geheim7')",
        &["SELECT run("],
    ),
    (
        "SELECT cron.schedule('0 3 * * *', $$SELECT dblink_connect('postgres://u:Geheim7@h/d')$$)",
        &["SELECT cron.schedule('0 3 * * *'"],
    ),
    (
        "PREPARE p AS SELECT set_config('a.secret', $1, false); EXECUTE p('Geheim7')",
        &["PREPARE p AS", "EXECUTE p('***')"],
    ),
    (
        "PREPARE p AS UPDATE users SET password = 'Geheim7'",
        &["PREPARE p AS UPDATE users SET password = '***'"],
    ),
    (
        "PREPARE p(text) AS UPDATE users SET password = $1; EXECUTE p('Geheim7')",
        &["EXECUTE p('***')"],
    ),
    // Comments.
    (
        "SELECT 1 /* ALTER ROLE app PASSWORD 'Geheim7' */",
        &["SELECT 1 /****"],
    ),
    (
        "SELECT 1 -- ALTER ROLE app PASSWORD 'Geheim7'",
        &["SELECT 1 --***"],
    ),
    (
        "-- ALTER ROLE app PASSWORD\n--   'Geheim7'\nSELECT 'kept'",
        &["SELECT 'kept'"],
    ),
    ("/* password=Geheim7 */ SELECT 'kept'", &["SELECT 'kept'"]),
    (
        "SELECT 1 /* ALTER ROLE app PASSWORD*/ 'Geheim7' */",
        &["SELECT 1 /*"],
    ),
    (
        "-- ALTER ROLE app PASSWORD\n'Ge'\n'heim7'; SELECT 'kept'",
        &["SELECT 'kept'"],
    ),
    ("SELECT 1 /*dbgov_run='r',token='Geheim7'*/", &["SELECT 1"]),
    ("SELECT 1 /* postgres://u:Geheim7@h/d */", &["SELECT 1"]),
    ("/* a /* password: Geheim7 */ b */ SELECT 1", &["SELECT 1"]),
    // What cannot be cut into tokens.
    ("ALTER ROLE app PASSWORD 'Geheim7", &["ALTER ROLE app "]),
    ("ALTER ROLE app PASSWORD $$Geheim7", &["ALTER ROLE app "]),
    ("ALTER ROLE app PASSWORD E'Geheim7\\'", &["ALTER ROLE app "]),
    (
        "INSERT INTO t VALUES ('it's', 'password Geheim7')",
        &["INSERT INTO t VALUES ("],
    ),
    (
        "INSERT INTO t VALUES ('it's Geheim7', 'password')",
        &["INSERT INTO t VALUES ("],
    ),
    (
        "ALTER ROLE app /* PASSWORD 'Geheim7'",
        &["ALTER ROLE app /*"],
    ),
    ("ALTER ROLE app PASSWORD \"Geheim7", &["ALTER ROLE app "]),
];

/// Nothing secret: they stay as they are.
pub(super) const PLAIN: &[&str] = &[
    "",
    "SELECT 1",
    "SELECT 'a', 'b' FROM t WHERE x = 'y'",
    "SELECT prompt_tokens FROM usage WHERE model = 'm'",
    "SELECT key FROM t WHERE key = 'primary_key'",
    "SELECT 'https://example.com/path?page=2'",
    "SELECT 'mail bob@example.com'",
    "SET password_encryption = 'md5'",
    "SELECT 'a \\ b'",
    "SELECT E'a\\nb'",
    "SELECT set_config('search_path', 'a, b', false)",
    "CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (host 'h', dbname 'd')",
    "CREATE SUBSCRIPTION s CONNECTION 'host=h user=r' PUBLICATION p",
    "SELECT * FROM dblink('dbname=d', 'SELECT 1') AS t(a int)",
    "COPY t FROM PROGRAM 'gzip -dc /tmp/a.gz'",
    "INSERT INTO docs VALUES ('The password policy has changed')",
    "SELECT '\\x6b6579'::bytea",
    "DO $$ BEGIN RAISE NOTICE 'done'; END $$",
    "/* see the wiki, key facts */ SELECT 1",
    "SELECT digest('a', 'sha256'), gen_salt('bf')",
    "DROP ROLE app",
    "ALTER ROLE app SET search_path = 'a'",
    "CREATE ROLE app VALID UNTIL '2027-01-01'",
    "ALTER ROLE app PASSWORD NULL",
];
