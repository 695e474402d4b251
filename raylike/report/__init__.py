"""The page that people look at: figures (`facts`, `gather`), plots, galleries, and the page itself."""
