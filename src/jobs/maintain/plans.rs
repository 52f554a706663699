//! Which watched queries are planned in another way after a step than before it.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::jobs::Context;
use crate::queries::plans::Plan;
use crate::queries::watched;
use crate::sqlite::open;

/// The plans at one time, by the query's name.
pub(super) struct Plans(BTreeMap<String, Plan>);

impl Plans {
    /// Those of now. A query that cannot be planned has none.
    pub(super) async fn now(context: &Context) -> Result<Self> {
        let (queries, path) = (context.database.watch.queries.clone(), context.database.path.clone());
        if queries.is_empty() {
            return Ok(Self(BTreeMap::new()));
        }
        let look = move |_: &mut rusqlite::Connection| {
            // One that read the statistics now: the pool's may have read them long ago.
            let connection = open::another(&path)?;
            let plan = |query| watched::plan(&connection, query).ok();
            Ok(Self(queries.iter().filter_map(|q| Some((q.name.clone(), plan(q)?))).collect()))
        };
        context.sql(look).await
    }

    /// The names of those that are other ones now.
    pub(super) async fn changed(self, context: &Context) -> Result<Vec<String>> {
        let Self(now) = Self::now(context).await?;
        let differs = |(name, plan): &(String, Plan)| now.get(name).is_some_and(|new| new != plan);
        Ok(self.0.into_iter().filter(differs).map(|(name, _)| name).collect())
    }
}
