//! Names for the sample's users. Pure: the n-th user has the same name in every demo.

const GIVEN: [&str; 40] = [
    "Aisha", "Amir", "Ana", "Anton", "Beatriz", "Carlos", "Chidi", "Clara", "Daniel", "Elena", "Emil",
    "Farah", "Felix", "Grace", "Hana", "Ibrahim", "Ines", "Jakub", "Jonas", "Julia", "Kofi", "Lea", "Leon",
    "Lucia", "Maja", "Marco", "Mei", "Nadia", "Noah", "Olga", "Pedro", "Priya", "Rafael", "Sara", "Sofia",
    "Tariq", "Tomas", "Vera", "Wei", "Yuki",
];

const FAMILY: [&str; 36] = [
    "Adeyemi", "Almeida", "Andersen", "Bauer", "Bianchi", "Chen", "Costa", "Demir", "Dubois", "Eriksen",
    "Fischer", "Garcia", "Haddad", "Hoffmann", "Ivanova", "Jansen", "Kaya", "Kim", "Kowalski", "Larsen",
    "Lopez", "Mensah", "Moreau", "Nakamura", "Novak", "Okafor", "Patel", "Petrov", "Rossi", "Santos",
    "Schmidt", "Silva", "Singh", "Tanaka", "Weber", "Yilmaz",
];

/// Given and family name of the n-th user. The first 1440 differ: each round of given names meets
/// the family names one further on.
pub(super) const fn name(n: usize) -> (&'static str, &'static str) {
    let given = n % GIVEN.len();
    (GIVEN[given], FAMILY[(given + n / GIVEN.len()) % FAMILY.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_first_1440_people_have_different_names() {
        assert_eq!((0..1440).map(name).collect::<HashSet<_>>().len(), 1440);
    }
}
