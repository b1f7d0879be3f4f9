//! SQL that does something, hidden in every way we know; and the messages that carry it.

use crate::sql::RUN_TEXT;

/// SplitMix64: the same statements in every run.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Dice(seed)
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound as u64) as usize
    }

    /// Once in so many times.
    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(super) fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.roll() as u8
    }
}

/// `@t` is a table, `@f` a function, `@n` another name, `@e` an expression.
const STATEMENTS: &[&str] = &[
    "select 1",
    "select * from @t",
    "select @e from @t join @t using ( id ) where a = @e",
    "select @e , @e",
    "select * into @n from @t",
    "select 1 insert into @n",
    "select @e from @t for update",
    "table @t",
    "values ( @e ) , ( 2 )",
    "insert into @t values ( @e )",
    "insert into @t select * from @t",
    "insert into @t values ( 1 ) on conflict do nothing",
    "insert into @t values ( 1 ) on conflict ( id ) do update set a = @e",
    "insert into @t table @t",
    "update @t set a = @e",
    "update only @t set a = @e where id = 1",
    "update @t set a = @e where true or a",
    "update @t set a = x . b from @t x where x . id = 1",
    "delete from @t",
    "delete from only @t where id = @e",
    "delete from @t using @t x where 1 = 1",
    "delete from @t -- where",
    "delete from @t where current of @n",
    "merge into @t using @t x on true when matched then delete",
    "merge into @t using @t x on x . id = 1 when not matched then insert values ( 1 )",
    "truncate @t",
    "truncate table only @t , @t cascade",
    "copy @t from stdin",
    "copy @t ( a ) to stdout",
    "copy @t to program 'cat'",
    "copy @t from '/tmp/x' with ( format csv )",
    "copy ( select * from @t ) to stdout",
    "create table @t ( a int references @t )",
    "create table @t as select * from @t",
    "create temp table @n as execute @n",
    "create unlogged table if not exists @t ( like @t )",
    "create index on @t ( a )",
    "create unique index concurrently @n on @t ( lower ( a ) )",
    "create view @n as select * from @t",
    "create materialized view @n as table @t",
    "create role @n login in role @n",
    "create user @n",
    "create schema @n create table @t ( a int ) grant select on @t to @n",
    "create extension dblink",
    "create trigger @n after insert on @t for each row execute function @f ( )",
    "create rule @n as on insert to @t do instead nothing",
    "create rule @n as on insert to @t do also delete from @t",
    "create policy @n on @t using ( a = 1 )",
    "create event trigger @n on ddl_command_start execute function @f ( )",
    "create sequence @n",
    "create type @n as ( a int )",
    "create database @n",
    "create schema @n perform @f ( )",
    "create schema @n join @t",
    "create ' perform @f ( )",
    "create ' join @t",
    "create $$ join @t",
    "alter table @t add column a int",
    "alter table only @t drop constraint @n",
    "alter table @t rename to @n",
    "alter role @n superuser",
    "alter user @n set search_path = @n",
    "alter default privileges in schema @n grant select on tables to @n",
    "alter default privileges revoke all on tables from @n",
    "alter system set work_mem = '1MB'",
    "alter index @n rename to @n",
    "alter function @f ( ) owner to @n",
    "drop table @t",
    "drop table if exists @t , @t cascade",
    "drop view @n",
    "drop schema @n cascade",
    "drop role @n",
    "drop owned by @n",
    "drop index concurrently @n",
    "drop function @f ( int )",
    "drop trigger @n on @t",
    "drop database @n with ( force )",
    "drop operator + ( int , int )",
    "grant select on @t to @n",
    "grant @n to @n",
    "grant all on all tables in schema @n to public",
    "grant execute on function @f ( ) to @n",
    "revoke all on @t from @n",
    "revoke @n from @n",
    "comment on table @t is 'x'",
    "comment on column @t . a is null",
    "lock table @t in access exclusive mode",
    "lock @t",
    "vacuum",
    "vacuum full @t",
    "vacuum ( analyze ) @t",
    "analyze @t",
    "analyse",
    "cluster @t using @n",
    "cluster",
    "reindex table @t",
    "reindex database @n",
    "refresh materialized view concurrently @t",
    "import foreign schema @n from server @n into @n",
    "reassign owned by @n to @n",
    "security label for x on table @t is 'y'",
    "load 'auto_explain'",
    "call @f ( @e )",
    "prepare @n as select 1",
    "prepare @n ( int ) as delete from @t where id = $1",
    "prepare transaction 'x'",
    "execute @n",
    "execute @n ( @e )",
    "deallocate @n",
    "deallocate prepare all",
    "declare @n cursor for select * from @t",
    "declare @n binary no scroll cursor with hold for values ( 1 )",
    "fetch all from @n",
    "fetch @n",
    "move next in @n",
    "close @n",
    "explain select * from @t",
    "set search_path to @n , public",
    "set local role @n",
    "set session authorization @n",
    "set session session authorization default",
    "set schema 'x'",
    "set time zone 'UTC'",
    "set names 'utf8'",
    "set \"role\" to @n",
    "set U&\"rol\\0065\" to @n",
    "set work_mem = 1",
    "set client_encoding to 'SJIS'",
    "reset role",
    "reset session authorization",
    "select set_config ( E'\\x72ole' , 'x' , true )",
    "set transaction isolation level serializable",
    "set constraints all deferred",
    "set @n . x = 1",
    "select set_config ( 'search_path' , 'x' , false )",
    "reset all",
    "reset search_path",
    "show all",
    "show search_path",
    "discard all",
    "begin",
    "start transaction read only",
    "commit",
    "end",
    "commit prepared 'x'",
    "rollback",
    "abort",
    "rollback to savepoint @n",
    "savepoint @n",
    "release savepoint @n",
    "listen @n",
    "unlisten *",
    "notify @n , 'x'",
    "checkpoint",
    "select query_to_xml ( 'select 1' , true , true , '' )",
    "select * from dblink ( 'x' , 'select 1' ) as @n ( a int )",
    "select \"query_to_xml\" ( @e , true , true , '' )",
    "select lo_import ( '/etc/passwd' )",
    "select lo_export ( 1 , '/tmp/x' )",
    "select pg_catalog . lo_unlink ( 1 )",
    "select pg_read_file ( '/etc/passwd' )",
    "select pg_read_binary_file ( 'x' ) , pg_ls_dir ( '.' ) , pg_stat_file ( 'x' )",
    "select ts_stat ( 'select 1' )",
    "select set_config ( @e , 'x' , true )",
    "select \"set_config\" ( 'role' , @e , true )",
    "update pg_settings set setting = 'x' where name = 'search_path'",
    "explain ( \"analyze\" ) select @e",
    "vacuum ( \"analyze\" true )",
    "do language plperl 'x'",
    "do language \"plpgsql\" 'begin perform 1; end'",
    "create function @f ( ) returns int language c as 'x' , 'y'",
    "create function @f ( ) returns int language plpython3u as 'x'",
    "create view @n with ( security_barrier ) as values ( 1 )",
    "create schema authorization @n create view @n as table @t",
    "alter table @t attach partition @t default",
    "alter table @t inherit @t",
    "alter publication @n add table @t",
    "create publication @n for table @t",
    "create subscription @n connection 'x' publication @n",
    "create server @n foreign data wrapper @n",
    "create foreign table @t ( a int ) server @n",
    "create aggregate @f ( int ) ( sfunc = @f , stype = int )",
    "create domain @n as int check ( @f ( value ) )",
    "create cast ( int as text ) with function @f ( int )",
    "select lo_unlink ( 1 ) , lo_creat ( -1 ) , lo_put ( 1 , 0 , '' )",
    "select * from @t tablesample system ( 1 )",
    "select nextval ( '@t' ) , currval ( E'@t' )",
    "select ( @e ) . * from @f ( @e ) with ordinality",
    "select * from only @t natural join @t",
    "with x as ( select 1 ) delete from @t using x returning *",
    "with x ( a ) as materialized ( values ( 1 ) ) update @t set a = @e from x",
    "insert into @t default values returning @f ( a )",
    "select pg_notify ( 'x' , 'y' )",
    "select current_setting ( 'x' )",
    "select nextval ( 'secrets' )",
    "select crosstab ( @e )",
    "select cursor_to_xml ( @n , 1 , true , true , '' )",
];

/// In code of procedures.
const PROCEDURAL: &[&str] = &[
    "perform @f ( ) ;",
    "execute 'drop table ' || @n ;",
    "execute 'drop table @t' ;",
    "execute format ( 'x' ) using 1 ;",
    "for r in select * from @t loop null ; end loop ;",
    "raise notice 'x' ;",
    "if true then null ; end if ;",
    "open c for execute 'select 1' ;",
];

pub(super) const TABLES: &[&str] = &[
    "t",
    "orders",
    "secrets",
    "SECRETS",
    "\"secrets\"",
    "\"Secrets\"",
    "audit.secrets",
    "audit . \"secrets\"",
    "db.audit.log",
    "secrets_2024",
    "my_secrets",
    "U&\"s\\0065crets\"",
    "u&\"s!0065crets\" uescape '!'",
    "\"sec rets\"",
    "\"se\"\"crets\"",
    "\"select\"",
    "\"drop\"",
    "pg_authid",
    "information_schema.tables",
    "customer_payment_details_with_a_name_of_just_sixty_three_bytes_x",
    "customer_payment_details_with_a_name_of_just_sixty_three_bytes_xyz",
    "geheimé",
];

const FUNCTIONS: &[&str] = &[
    "f",
    "now",
    "count",
    "lower",
    "pg_sleep",
    "pg_terminate_backend",
    "\"pg_sleep\"",
    "admin.purge",
    "PURGE",
    "U&\"p\\0075rge\"",
    "purge_all",
    "set_config",
    "query_to_xml",
];

const EXPRESSIONS: &[&str] = &[
    "1",
    "$1",
    "'x'",
    "'drop table t'",
    "E'a\\'b'",
    "'a\\'",
    "$$ drop $$",
    "null",
    "a",
    "@f ( )",
    "@f ( 1 , 'x' )",
    "( select 1 from @t )",
    "( table @t )",
    "array [ 1 , 2 ]",
    "case when true then 1 else 2 end",
    "x :: int",
    "\"delete\"",
    "created_at",
    "1e5",
    "0x1F",
    ".5",
    "@f ( @f ( ) )",
    "exists ( select 1 )",
];

/// Words that an unread statement may have anywhere.
const SOUP: &[&str] = &[
    "select",
    "insert",
    "update",
    "delete",
    "merge",
    "truncate",
    "create",
    "alter",
    "drop",
    "grant",
    "revoke",
    "call",
    "do",
    "execute",
    "prepare",
    "explain",
    "notify",
    "declare",
    "comment",
    "lock",
    "vacuum",
    "analyze",
    "analyse",
    "cluster",
    "reindex",
    "refresh",
    "import",
    "reassign",
    "load",
    "checkpoint",
    "table",
    "values",
    "set",
    "reset",
    "show",
    "discard",
    "begin",
    "start",
    "commit",
    "end",
    "rollback",
    "abort",
    "savepoint",
    "release",
    "listen",
    "unlisten",
    "deallocate",
    "fetch",
    "move",
    "close",
    "security",
    "copy",
    "from",
    "to",
    "into",
    "where",
    "using",
    "join",
    "on",
    "for",
    "as",
    "with",
    "only",
    "if",
    "exists",
    "all",
    "(",
    ")",
    ",",
    ";",
    "=",
    "*",
    "+",
    "@t",
    "@f",
    "@e",
    "@n",
    "role",
    "function",
    "language",
    "sql",
    "owned",
    "by",
    "default",
    "privileges",
    "atomic",
    "perform",
    "return",
    "returning",
    "$$ delete from t $$",
    "'drop'",
    "program",
    "stdin",
    "label",
    "schema",
    "user",
    "of",
];

/// What may stand between two tokens; every one has white space or ends what it is in.
const GAPS: &[&str] = &[
    " ",
    " ",
    " ",
    "\n",
    "\t",
    "\r\n",
    "\x0b",
    "\x0c",
    "  ",
    "/**/",
    " /* drop ; */ ",
    "/*/* nested */ */",
    "--\n",
    " -- where 'x\n",
    "\n\n",
];

/// What may stand directly before a keyword.
const GLUE: &[&str] = &[
    "",
    ";",
    " ; ",
    "(",
    "/**/",
    "\n",
    "--x\n",
    "1;",
    ";;",
    "\u{feff};",
    "/* é */",
    "\x0c",
];

/// What may stand directly before a word in the middle.
const INNER_GLUE: &[&str] = &[
    "1", "'x'", "$$x$$", "$1", "\"q\"", ")", "1.5", "1e5", "E'\\''", "$a$b$a$", "+", "B'1'", ".5",
    "]", "0x1",
];

pub(super) struct Generator {
    pub(super) dice: Dice,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        Generator {
            dice: Dice::new(seed),
        }
    }

    /// A message's text.
    pub(super) fn text(&mut self) -> String {
        let mut text = self.statement(3);
        if self.dice.one_in(6) {
            let other = self.statement(2);
            text = format!("{text};{}{other}", self.gap());
        }
        if self.dice.one_in(8) {
            text = self.damaged(&text);
        }
        let before = if self.dice.one_in(3) {
            self.dice.pick(GLUE)
        } else {
            ""
        };
        let after = self
            .dice
            .pick(&["", "", "", ";", ";\n", " ", " --", "/* x */", ";;"]);
        format!("{before}{text}{after}")
    }

    fn statement(&mut self, depth: usize) -> String {
        if depth > 0 && self.dice.one_in(3) {
            return self.wrapped(depth - 1);
        }
        if self.dice.one_in(12) {
            return self.soup();
        }
        let template = self.dice.pick(STATEMENTS);
        self.render(template)
    }

    fn soup(&mut self) -> String {
        let words: Vec<&str> = (0..=self.dice.below(8))
            .map(|_| self.dice.pick(SOUP))
            .collect();
        self.render(&words.join(" "))
    }

    fn wrapped(&mut self, depth: usize) -> String {
        let inner = self.statement(depth);
        let (open, close) = match self.dice.below(22) {
            0 => ("explain", ""),
            1 => ("explain analyze", ""),
            2 => ("explain ( analyze , verbose )", ""),
            3 => ("explain ( analyze false )", ""),
            4 => ("prepare @n as", ""),
            5 => ("with x as (", "returning * ) select * from x"),
            6 => ("with recursive x as (", ") insert into @t table x"),
            7 => ("declare @n cursor for", ""),
            8 => ("copy (", ") to stdout"),
            9 => ("create table @n as", "with no data"),
            10 => ("create view @n as", ""),
            11 => ("create rule @n as on update to @t do also", ""),
            12 => ("create rule @n as on update to @t do ( select 1 ;", ")"),
            13 => ("(", ")"),
            14 => ("create function @f ( ) returns int begin atomic", "; end"),
            15 => (
                "create or replace function @f ( ) returns int return (",
                ")",
            ),
            16 => ("select * from (", ") x"),
            17 => return self.code(&inner),
            18 => return self.code(&inner),
            19 => return self.routine(&inner),
            20 => return self.run_by_function(&inner),
            _ => ("select 1 where exists (", ")"),
        };
        let (open, close) = (self.render(open), self.render(close));
        format!("{open}{}{inner}{}{close}", self.gap(), self.gap())
    }

    fn block(&mut self, inner: &str) -> String {
        match self.dice.below(4) {
            0 => inner.to_owned(),
            1 => {
                let line = self.dice.pick(PROCEDURAL);
                format!("begin {} end", self.render(line))
            }
            2 => {
                let literal = self.literal(inner);
                format!("begin execute {literal}; end")
            }
            _ => format!("begin {inner}; end"),
        }
    }

    fn code(&mut self, inner: &str) -> String {
        let block = self.block(inner);
        let body = self.literal(&block);
        let template = self
            .dice
            .pick(&["do", "do language plpgsql", "do language 'plpgsql'"]);
        let open = self.render(template);
        let gap = if self.dice.one_in(3) {
            String::new()
        } else {
            self.gap()
        };
        let close = if self.dice.one_in(4) {
            " language sql"
        } else {
            ""
        };
        format!("{open}{gap}{body}{close}")
    }

    fn routine(&mut self, inner: &str) -> String {
        let block = self.block(inner);
        let body = self.literal(&block);
        let open = self.dice.pick(&[
            "create function @f ( ) returns void language sql as",
            "create or replace procedure @f ( a int default 1 ) language plpgsql as",
            "create function @f ( ) returns trigger as",
        ]);
        let open = self.render(open);
        format!(
            "{open}{}{body}{}",
            self.gap(),
            self.dice
                .pick(&["", " language plpgsql", " security definer"])
        )
    }

    fn run_by_function(&mut self, inner: &str) -> String {
        let literal = self.literal(inner);
        let spelled = [
            "\"query_to_xml\"",
            "Query_To_XML",
            "pg_catalog.ts_stat",
            "U&\"query\\005fto_xml\"",
        ];
        let function = if self.dice.one_in(3) {
            self.dice.pick(&spelled)
        } else {
            self.dice.pick(RUN_TEXT)
        };
        format!("select {function}({literal})")
    }

    /// A string of any kind that means this text.
    fn literal(&mut self, text: &str) -> String {
        let quoted = text.replace('\'', "''");
        match self.dice.below(6) {
            0 => format!("$${text}$$"),
            1 => format!("$b${text}$b$"),
            2 => format!("'{quoted}'"),
            3 => {
                let escaped: String = text
                    .chars()
                    .map(|c| match c {
                        '\'' | '\\' => format!("\\{c}"),
                        _ if c.is_ascii() && self.dice.one_in(3) => format!("\\x{:02x}", c as u32),
                        _ => c.to_string(),
                    })
                    .collect();
                format!("E'{escaped}'")
            }
            4 => {
                let escaped: String = text
                    .chars()
                    .map(|c| match c {
                        '\'' => "''".to_owned(),
                        '\\' => "\\\\".to_owned(),
                        _ if c.is_ascii() && self.dice.one_in(3) => format!("\\{:04x}", c as u32),
                        _ => c.to_string(),
                    })
                    .collect();
                format!("U&'{escaped}'")
            }
            _ => {
                let cut = text.len() / 2;
                match (text.get(..cut), text.get(cut..)) {
                    (Some(head), Some(tail)) => format!(
                        "'{}'\n'{}'",
                        head.replace('\'', "''"),
                        tail.replace('\'', "''")
                    ),
                    _ => format!("'{quoted}'"),
                }
            }
        }
    }

    fn gap(&mut self) -> String {
        if self.dice.one_in(3) {
            self.dice.pick(GAPS).to_owned()
        } else {
            " ".to_owned()
        }
    }

    /// A template with its placeholders filled, letters in any case and any white space.
    fn render(&mut self, template: &str) -> String {
        let mut text = String::new();
        let case = self.dice.below(4);
        for part in template.split(' ').filter(|part| !part.is_empty()) {
            let token = match part {
                "@t" => self.dice.pick(TABLES).to_owned(),
                "@f" => self.dice.pick(FUNCTIONS).to_owned(),
                "@n" => {
                    let names = ["x", "p1", "public", "\"End\"", "todo", "s"];
                    self.dice.pick(&names).to_owned()
                }
                "@e" => {
                    let expression = self.dice.pick(EXPRESSIONS);
                    self.render(expression)
                }
                word if word.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                    self.cased(word, case)
                }
                other => other.to_owned(),
            };
            if !text.is_empty() {
                text.push_str(&self.between(&text, &token));
            }
            text.push_str(&token);
        }
        text
    }

    fn cased(&mut self, word: &str, case: usize) -> String {
        match case {
            0 => word.to_ascii_uppercase(),
            1 => word
                .chars()
                .map(|c| {
                    if self.dice.one_in(2) {
                        c.to_ascii_uppercase()
                    } else {
                        c
                    }
                })
                .collect(),
            _ => word.to_owned(),
        }
    }

    fn between(&mut self, before: &str, token: &str) -> String {
        let glued = |c: Option<char>| {
            c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$' || c == '\\')
        };
        if glued(before.chars().last()) && glued(token.chars().next()) || !self.dice.one_in(4) {
            return self.gap();
        }
        String::new()
    }

    /// Characters taken away, put in twice, or something glued to a word.
    fn damaged(&mut self, text: &str) -> String {
        let mut parts: Vec<String> = text.split_inclusive(' ').map(str::to_owned).collect();
        for _ in 0..=self.dice.below(2) {
            let at = self.dice.below(parts.len());
            match self.dice.below(4) {
                0 if parts.len() > 1 => drop(parts.remove(at)),
                1 => parts.insert(at, parts[at].clone()),
                2 => {
                    let other = self.dice.below(parts.len());
                    parts.swap(at, other);
                }
                _ => parts.insert(at, self.dice.pick(INNER_GLUE).to_owned()),
            }
        }
        parts.concat()
    }

    /// The text as it comes over the wire, behind the end of another message. The bytes of a length are arbitrary but
    /// the first: what is any length's is this one's too.
    pub(super) fn message(&mut self, text: &str) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..self.dice.below(6))
            .map(|_| self.letter_or_any())
            .collect();
        let prepared = self.dice.one_in(2);
        bytes.push(if prepared { b'P' } else { b'Q' });
        let first = self.dice.byte() % 0x40;
        bytes.push(first);
        for _ in 0..3 {
            let byte = self.letter_or_any();
            bytes.push(byte);
        }
        if prepared {
            bytes.extend_from_slice(self.dice.pick(&["", "s1", "drop", "S_3"]).as_bytes());
            bytes.push(0);
        }
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
        bytes
    }

    fn letter_or_any(&mut self) -> u8 {
        match self.dice.below(3) {
            0 => self.dice.byte(),
            1 => b'a' + self.dice.byte() % 26,
            _ => b'0' + self.dice.byte() % 10,
        }
    }

    /// Where a message is cut into packets.
    pub(super) fn cuts(&mut self, length: usize) -> Vec<usize> {
        let mut cuts: Vec<usize> = (0..self.dice.below(4))
            .map(|_| self.dice.below(length + 1))
            .collect();
        cuts.sort_unstable();
        cuts
    }
}
