// How the threads of OpenMP wait for work. See threads.cc.
#pragma once

namespace um {

/// Call first in main, before any OpenMP work. Returns when the process runs with short waits; may
/// start the program anew, once.
void settle_openmp_waiting(char** argv);

}  // namespace um
