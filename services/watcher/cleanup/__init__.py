"""Clean up: `archival` archives old tasks, `purge` removes their files, and `user_deletion` removes users."""
