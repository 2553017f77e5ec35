"""Details of an evaluation, and the report page: sections, pictures, charts, tables of figures."""
