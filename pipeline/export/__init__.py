"""Networks of bundles as files of other libraries; a family says which formats it has."""
