"""What `import bnnflow as bf` offers: functions that return what the commands show. They print nothing."""
