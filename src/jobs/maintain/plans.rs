//! Which watched queries are planned in another way after a step than before it.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::jobs::Run;
use crate::queries::plans::Plan;
use crate::queries::watched;
use crate::sqlite::open;

/// The plans at one time, by the query's name.
pub(super) struct Plans(BTreeMap<String, Plan>);

impl Plans {
    /// Those of now. A query that cannot be planned has none.
    pub(super) fn now(run: &Run) -> Result<Self> {
        let queries = &run.database.watch.queries;
        if queries.is_empty() {
            return Ok(Self(BTreeMap::new()));
        }
        run.sql(|_| {
            // One that read the statistics now: the pool's may have read them long ago.
            let connection = open::another(&run.database.path)?;
            let plan = |query| watched::plan(&connection, query).ok();
            Ok(Self(queries.iter().filter_map(|q| Some((q.name.clone(), plan(q)?))).collect()))
        })
    }

    /// The names of those that are other ones now.
    pub(super) fn changed(self, run: &Run) -> Result<Vec<String>> {
        let Self(now) = Self::now(run)?;
        let differs = |(name, plan): &(String, Plan)| now.get(name).is_some_and(|new| new != plan);
        Ok(self.0.into_iter().filter(differs).map(|(name, _)| name).collect())
    }
}
