// Package workdir makes, fills and removes the directory of one run, which may
// belong to another account than the runner's.
//
// # Why nobody can lead root astray
//
// A runner that is root must not follow a name in a directory that another
// account may write to: the name may be a link by the time it is followed. So
//
//   - the parent of a run's directory is one in which others can't rename what
//     is not theirs: nobody else may write to it, or it is sticky;
//   - a directory is made under a name that nobody can know before, and filled
//     below its descriptor, each name with O_EXCL and O_NOFOLLOW;
//   - it is given to the run's account last, and nothing is written to it then.
//     What is given lies inside a directory that stays the runner's, so that the
//     account can't rename it either;
//   - what a run has left is looked at, shared and removed by descriptor as well,
//     and an account that goes on changing it can't keep the runner busy for ever.
package workdir
