//! iCalendar text of a schedule (RFC 5545).
