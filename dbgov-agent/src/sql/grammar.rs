//! What PostgreSQL's grammar has and sqlparser's has not: put otherwise, or left out where no fact rests on it.

use sqlparser::tokenizer::Token as Sql;

use super::cursor::Cursor;
use super::lexer::{Kind, Token};
use super::statement;

fn word(text: &str) -> Sql {
    Sql::make_word(text, None)
}

fn is(token: Option<&Sql>, words: &[&str]) -> bool {
    matches!(token, Some(Sql::Word(word))
        if word.quote_style.is_none() && words.contains(&word.value.as_str()))
}

/// Does what is needed for an unquoted word (folded) that has been passed over; `false` if it stays as it is.
pub(crate) fn other_words(folded: &str, rest: &mut Cursor<'_>, converted: &mut Vec<Sql>) -> bool {
    let last = converted.last();
    let opens = rest.peek().is_some_and(|next| next.kind == Kind::LParen);
    match folded {
        // TABLE t is SELECT * FROM t, and sqlparser knows it in some places only. It is a noise word in SELECT ... INTO.
        "table"
            if rest.peek().is_some_and(|next| next.kind.is_ident())
                && !is(last, &["into", "temporary", "temp", "unlogged"]) =>
        {
            converted.extend([word("select"), Sql::Mul, word("from")]);
        }
        // FROM ONLY t: sqlparser takes the reserved word for a table. But FETCH FIRST 1 ROWS ONLY.
        "only" if is(last, &["row", "rows"]) => return false,
        "only" => converted.extend(name_in_parens(rest)),
        // WHERE CURRENT OF cursor: a condition that depends on data.
        "current" if is(last, &["where"]) && rest.eat("of") => {
            if rest.ident().is_err() {
                return false;
            }
            converted.push(Sql::Placeholder("$0".to_owned()));
        }
        "collate" => return rest.parts().is_ok(),
        "collation" if opens || rest.eat("for") => converted.push(word("pg_collation_for")),
        "variadic" => return matches!(last, Some(Sql::LParen | Sql::Comma)),
        "isnull" | "notnull" if is(last, &["as"]) => return false,
        "isnull" => converted.extend([word("is"), word("null")]),
        "notnull" => converted.extend([word("is"), word("not"), word("null")]),
        "symmetric" | "asymmetric" => return is(last, &["between"]),
        "overriding" => return rest.eat_one_of(&["user value", "system value"]),
        // WHEN NOT MATCHED THEN INSERT DEFAULT VALUES
        "default" if is(last, &["insert"]) && rest.eat("values") => {
            converted.extend([word("values"), Sql::LParen, word("null"), Sql::RParen]);
        }
        // EXCLUDE of a window's frame
        "exclude" => {
            return rest.eat_one_of(&["current row", "group", "ties", "no others"]);
        }
        "search" | "cycle" if last == Some(&Sql::RParen) => {
            return order_of_recursion(folded, rest);
        }
        // ROWS FROM (f(), g())
        "rows" if rest.is("from") && is_call_list(*rest) => {
            rest.next();
            converted.push(word("unnest"));
        }
        // f() AS (a int, b text): no alias
        "as" if last == Some(&Sql::RParen) && opens && is_columns(*rest) => {
            converted.extend([word("as"), word("_")]);
        }
        "set" => converted.extend(std::iter::once(word("set")).chain(subscripted(rest))),
        _ => return false,
    }
    true
}

/// `(schema.name)`, without the parentheses.
fn name_in_parens(rest: &mut Cursor<'_>) -> Vec<Sql> {
    let mut after = *rest;
    if !after.eat_kind(Kind::LParen) {
        return Vec::new();
    }
    match after.parts() {
        Ok(parts) if after.eat_kind(Kind::RParen) => {
            *rest = after;
            let mut name = Vec::new();
            for part in parts {
                if !name.is_empty() {
                    name.push(Sql::Period);
                }
                name.push(Sql::make_word(&part, Some('"')));
            }
            name
        }
        _ => Vec::new(),
    }
}

/// `, column[1] = value` of an UPDATE: the column alone, which a comma has been passed over in front of.
pub(crate) fn after_comma(rest: &mut Cursor<'_>, converted: &mut Vec<Sql>) {
    converted.push(Sql::Comma);
    converted.extend(subscripted(rest));
}

/// `column[1:2].field = `: the column, if only names and literals are in the brackets.
fn subscripted(rest: &mut Cursor<'_>) -> Option<Sql> {
    if rest.tokens.get(1)?.kind != Kind::LBracket {
        return None;
    }
    let mut after = *rest;
    let column = after.ident().ok()?;
    loop {
        if after.eat_kind(Kind::Dot) {
            after.ident().ok()?;
        } else if after.peek()?.kind == Kind::LBracket {
            skip_subscript(&mut after)?;
        } else {
            break;
        }
    }
    let assigned = after.peek()?;
    if assigned.kind != Kind::Operator || assigned.text(rest.text) != "=" {
        return None;
    }
    *rest = after;
    Some(Sql::make_word(&column, Some('"')))
}

/// A few plain tokens in brackets.
fn skip_subscript(rest: &mut Cursor<'_>) -> Option<()> {
    const TOKENS_MAX: usize = 8;
    rest.next();
    for _ in 0..TOKENS_MAX {
        let token: Token = rest.next()?;
        match token.kind {
            Kind::RBracket => return Some(()),
            Kind::Word | Kind::Number | Kind::Param | Kind::Operator => {}
            kind if kind.is_string() => {}
            _ => return None,
        }
    }
    None
}

/// `SEARCH DEPTH FIRST BY a, b SET c`, `CYCLE a, b SET c [TO d DEFAULT e] USING f` behind a common table expression.
fn order_of_recursion(folded: &str, rest: &mut Cursor<'_>) -> bool {
    let mut after = *rest;
    let last = if folded == "search" {
        if !after.eat_one_of(&["depth first by", "breadth first by"]) {
            return false;
        }
        "set"
    } else {
        "using"
    };
    while let Some(token) = after.peek() {
        if after.eat(last) {
            let named = after.ident().is_ok();
            *rest = after;
            return named;
        }
        let plain = token.kind.is_ident() || token.kind.is_string();
        if !plain && !matches!(token.kind, Kind::Comma | Kind::Number) {
            return false;
        }
        after.next();
    }
    false
}

/// `FROM (f(...), ...`
fn is_call_list(rest: Cursor<'_>) -> bool {
    rest.tokens
        .get(1)
        .is_some_and(|token| token.kind == Kind::LParen)
}

/// `(name type`: not a query, not an expression.
fn is_columns(rest: Cursor<'_>) -> bool {
    let kind = |at: usize| rest.tokens.get(at).map(|token| token.kind);
    !statement::starts_query(rest)
        && kind(1).is_some_and(Kind::is_ident)
        && kind(2).is_some_and(Kind::is_ident)
}
