// Package crashtest breaks the server and its store in the ways in which
// machines break them, and judges what is left: [Kill] ends the real binary
// under load by SIGKILL, [States] writes out what a power cut can leave of a
// commit, sector by sector. What was acknowledged must be there, exactly once;
// what was not, at most once; and whatever is found must be sound.
//
// The tests of this package add a file system that forgets what was not synced,
// syncs that fail, disks that are full, and backups that are cut short. The
// torture command and tests import it.
package crashtest
