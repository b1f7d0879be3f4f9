//! The tree of a query into effects.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, FromTable, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Insert, Merge,
    MergeAction, ObjectName, OnConflict, OnConflictAction, OnInsert, Query, Select, SetExpr,
    Statement, TableFactor, TableObject, Value, Visitor,
};

use super::builtin;
use super::collector::{Collector, Effect};
use super::condition;
use super::name::{Object, ObjectKind};
use super::session;
use super::verb::Verb;

/// The WITH of a query that is being visited.
struct Scope {
    /// Place of each common table expression among them, by its name and by the address of its query.
    by_name: HashMap<String, usize>,
    by_address: HashMap<usize, usize>,
    recursive: bool,
    /// How many of them can be referred to where the visit is.
    visible: usize,
}

pub(crate) struct Walker<'a> {
    found: &'a mut Collector,
    scopes: Vec<Scope>,
    /// Addresses of table factors that are the target of a write, not read from.
    targets: HashSet<usize>,
}

/// Only compared, never followed.
fn address<T>(node: &T) -> usize {
    std::ptr::from_ref(node).addr()
}

/// Names were folded when the tokens were made.
fn object(kind: ObjectKind, name: &ObjectName) -> Option<Object> {
    let parts: Option<Vec<&str>> = name
        .0
        .iter()
        .map(|part| part.as_ident().map(|ident| ident.value.as_str()))
        .collect();
    Object::from_parts(kind, &parts?)
}

impl<'a> Walker<'a> {
    pub(crate) fn new(found: &'a mut Collector) -> Self {
        Walker {
            found,
            scopes: Vec::new(),
            targets: HashSet::new(),
        }
    }

    fn is_cte(&self, name: &ObjectName) -> bool {
        let [part] = name.0.as_slice() else {
            return false;
        };
        let Some(ident) = part.as_ident() else {
            return false;
        };
        self.scopes.iter().any(|scope| {
            scope
                .by_name
                .get(&ident.value)
                .is_some_and(|&place| place < scope.visible)
        })
    }

    /// The verb on the object of this name; on none if it has no plain name.
    fn on(&mut self, verb: Verb, kind: ObjectKind, name: &ObjectName) {
        self.found.push(Effect::new(verb, object(kind, name)));
    }

    /// `missing_where`: of every row.
    fn target(&mut self, verb: Verb, table: &TableFactor, missing_where: bool) {
        self.targets.insert(address(table));
        let relation = match table {
            TableFactor::Table { name, .. } => object(ObjectKind::Relation, name),
            _ => None,
        };
        // Its rule calls set_config().
        let settings = |relation: &Object| &*relation.name == "pg_settings";
        if verb == Verb::Update && relation.as_ref().is_some_and(settings) {
            self.found.set_all_computed();
        }
        self.found.push(Effect {
            missing_where,
            ..Effect::new(verb, relation)
        });
    }

    fn call(&mut self, name: &ObjectName, arguments: &[FunctionArg]) {
        let Some(function) = object(ObjectKind::Function, name) else {
            return self.found.verb(Verb::Call);
        };
        builtin::call(function, self.found);
        if is_set_config(name) {
            self.set_config(arguments);
        }
    }

    fn set_config(&mut self, arguments: &[FunctionArg]) {
        self.found.literal_dependent = true;
        let (name, value) = (text(arguments.first()), text(arguments.get(1)));
        let lasting = matches!(constant(arguments.get(2)), Some(Value::Boolean(false)));
        session::set_config(name, value, !lasting, self.found);
    }

    /// Is there no condition, or one that is true for every row?
    fn misses_where(&mut self, condition: Option<&Expr>, target: Option<&TableFactor>) -> bool {
        let Some(condition) = condition else {
            return true;
        };
        let truth = condition::always_true(condition, &target.map(names).unwrap_or_default());
        self.found.literal_dependent |= truth.literals;
        truth.always
    }

    fn merge(&mut self, merge: &Merge) {
        let writes_matched = merge
            .clauses
            .iter()
            .any(|clause| !matches!(clause.action, MergeAction::Insert(_)));
        let missing_where =
            writes_matched && self.misses_where(Some(&merge.on), Some(&merge.table));
        self.target(Verb::Merge, &merge.table, missing_where);
    }
}

/// What the rows of a table are called.
fn names(table: &TableFactor) -> Vec<&str> {
    let TableFactor::Table { name, alias, .. } = table else {
        return Vec::new();
    };
    match (alias, name.0.last().and_then(|part| part.as_ident())) {
        (Some(alias), _) => vec![&alias.name.value],
        (None, Some(name)) => vec![&name.value],
        (None, None) => Vec::new(),
    }
}

fn is_set_config(name: &ObjectName) -> bool {
    name.0
        .last()
        .and_then(|part| part.as_ident())
        .is_some_and(|ident| ident.value == "set_config")
}

fn constant(argument: Option<&FunctionArg>) -> Option<&Value> {
    match argument? {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => Some(&value.value),
        _ => None,
    }
}

fn text(argument: Option<&FunctionArg>) -> Option<&str> {
    match constant(argument)? {
        Value::SingleQuotedString(text) => Some(text),
        _ => None,
    }
}

fn updates_on_conflict(insert: &Insert) -> bool {
    matches!(
        &insert.on,
        Some(OnInsert::OnConflict(OnConflict {
            action: OnConflictAction::DoUpdate(_),
            ..
        }))
    )
}

impl Visitor for Walker<'_> {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        match statement {
            Statement::Query(query) if matches!(*query.body, SetExpr::Values(_)) => {
                self.found.verb(Verb::Select);
            }
            Statement::Insert(insert) => {
                self.found.verb(Verb::Insert);
                if let TableObject::TableName(name) = &insert.table {
                    self.on(Verb::Insert, ObjectKind::Relation, name);
                    // The server asks for the right to update as well.
                    if updates_on_conflict(insert) {
                        self.on(Verb::Update, ObjectKind::Relation, name);
                    }
                }
            }
            Statement::Update(update) => {
                let table = &update.table.relation;
                let missing_where = self.misses_where(update.selection.as_ref(), Some(table));
                self.target(Verb::Update, table, missing_where);
            }
            Statement::Delete(delete) => {
                let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) =
                    &delete.from;
                let target = tables.first().map(|table| &table.relation);
                let missing_where = self.misses_where(delete.selection.as_ref(), target);
                for table in tables {
                    self.target(Verb::Delete, &table.relation, missing_where);
                }
            }
            Statement::Merge(merge) => self.merge(merge),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let here = address(query);
        // Inside a common table expression only the ones before it are known, with RECURSIVE all of them.
        if let Some(scope) = self.scopes.last_mut()
            && !scope.recursive
            && let Some(&place) = scope.by_address.get(&here)
        {
            scope.visible = place;
        }
        let with = query.with.as_ref();
        let ctes = || with.iter().flat_map(|with| &with.cte_tables).enumerate();
        self.scopes.push(Scope {
            by_name: ctes()
                .map(|(place, cte)| (cte.alias.name.value.clone(), place))
                .collect(),
            by_address: ctes()
                .map(|(place, cte)| (address(&*cte.query), place))
                .collect(),
            visible: ctes().count(),
            recursive: with.is_some_and(|with| with.recursive),
        });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.scopes.pop();
        if let Some(scope) = self.scopes.last_mut() {
            scope.visible = scope.by_address.len();
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        self.found.verb(Verb::Select);
        for target in select.into.iter().flat_map(|into| &into.targets) {
            self.found.verb(Verb::Create);
            let name = match target {
                Expr::Identifier(ident) => ObjectName::from(vec![ident.clone()]),
                Expr::CompoundIdentifier(idents) => ObjectName::from(idents.clone()),
                _ => continue,
            };
            self.on(Verb::Create, ObjectKind::Relation, &name);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
        if self.targets.contains(&address(table)) {
            return ControlFlow::Continue(());
        }
        match table {
            TableFactor::Table {
                name,
                args: Some(arguments),
                ..
            } => self.call(name, &arguments.args),
            TableFactor::Function { name, args, .. } => self.call(name, args),
            TableFactor::Table { name, .. } if !self.is_cte(name) => {
                self.on(Verb::Select, ObjectKind::Relation, name);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(Function { name, args, .. }) = expr
            && !matches!(args, FunctionArguments::None)
        {
            match args {
                FunctionArguments::List(list) => self.call(name, &list.args),
                _ => self.call(name, &[]),
            }
        }
        ControlFlow::Continue(())
    }
}
