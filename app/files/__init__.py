"""Forms as files: XLSX and CSV, written for clerks and read back; bytes in, plain rows out."""
