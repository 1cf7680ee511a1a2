// The functions behind the rows of all_tasks(), by file.
#pragma once

#include "tasks/task.h"

namespace um {

using MakeProblem = Problem(TaskRandom& random, int level, Language language,
                            const TaskInputs& inputs);

MakeProblem make_addition, make_subtraction, make_multiplication;  // written.cc
MakeProblem make_chain, make_precedence;                           // chains.cc
MakeProblem make_sort_numbers, make_sort_words;                    // sorting.cc
MakeProblem make_count_letters, make_count_words;                  // counting.cc
MakeProblem make_countdown;                                        // countdown.cc
MakeProblem make_ordering, make_truth_tellers;                     // logic.cc
MakeProblem make_reverse, make_delete, make_replace;               // edits.cc
MakeProblem make_hypernym, make_antonym;                           // wordnet.cc
MakeProblem make_calculator, make_lookup;                          // tools.cc

}  // namespace um
