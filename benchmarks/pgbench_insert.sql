-- One submission as the database sees it: the product's own statement, in the product's own tables with all
-- their indexes and triggers. What stands in double braces is filled in from the product's code, with the
-- values of a row that it recorded.
\set participant random({{first}}, {{last}})
\set number random(1, 281474976710655)
{{record}};
