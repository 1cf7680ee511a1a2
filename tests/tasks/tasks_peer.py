"""Works out the answers of tasks from their English questions alone, in another way than the
generators do. Request: a list of {"task", "question", "answer"}; reply: a list of answers, or of
true where the given answer (countdown) is right."""
import itertools
import json
import re
import sys
from fractions import Fraction


def arithmetic(question):
    return eval(re.fullmatch(r"What is (\d+ [-+*] \d+)\?", question)[1])


def chain(question):
    value = None
    for word, number in re.findall(r"(Start with|Add|Subtract|Multiply by) (\d+)\.", question):
        n = int(number)
        value = {"Start with": lambda: n, "Add": lambda: value + n, "Subtract": lambda: value - n,
                 "Multiply by": lambda: value * n}[word]()
    return value


def precedence(question):
    return eval(re.fullmatch(r"Work out ([-+*() \d]+)\.", question)[1])


def sort_numbers(question):
    order, rest = question.split(": ")
    return ", ".join(map(str, sorted(map(int, rest.split(", ")), reverse="largest to" in order)))


def sort_words(question):
    return ", ".join(sorted(question.split(": ")[1].split(", ")))


def count_letters(question):
    letter, word = re.fullmatch(r"How many times does the letter (\w) occur in (\w+)\?", question).groups()
    return word.count(letter)


def count_words(question):
    word, rest = re.fullmatch(r'How many times does the word "(\w+)" occur in this list\? (.*)', question).groups()
    return rest.split(" ").count(word)


def countdown(question, answer):
    numbers, target = re.match(r"Use the numbers ([\d, ]+), each .* make (\d+)\.", question).groups()
    left = [int(n) for n in numbers.split(", ")]
    for used in re.findall(r"\d+", answer):
        left.remove(int(used))
    return eval(re.sub(r"(\d+)", r"Fraction(\1)", answer)) == int(target)


def ordering(question):
    taller = {}
    for a, word, b in re.findall(r"(\w+) is (taller|shorter) than (\w+)\.", question):
        high, low = (a, b) if word == "taller" else (b, a)
        taller.setdefault(high, set()).add(low)
        taller.setdefault(low, set())
    below = lambda name: set().union(taller[name], *(below(one) for one in taller[name]))
    order = sorted(taller, key=lambda name: -len(below(name)))
    return order[int(re.search(r"Who is number (\d+)", question)[1]) - 1]


def truth_tellers(question):
    names = re.match(r"Each of ([\w, ]+) either", question)[1].split(", ")
    said = re.findall(r"(\w+) says: (.*?)\. ", question)

    def holds(text, honest):
        if m := re.fullmatch(r"the number of us who tell the truth is (\d+)", text):
            return sum(honest.values()) == int(m[1])
        if m := re.fullmatch(r"(\w+) and (\w+) are of the same kind", text):
            return honest[m[1]] == honest[m[2]]
        m = re.fullmatch(r"(\w+) (tells the truth|lies)", text)
        return honest[m[1]] == (m[2] != "lies")

    fits = []
    for kinds in itertools.product([False, True], repeat=len(names)):
        honest = dict(zip(names, kinds))
        if all(holds(text, honest) == honest[name] for name, text in said):
            fits.append(", ".join(name for name in names if honest[name]))
    assert len(fits) == 1, question
    return fits[0]


def reverse(question):
    return re.fullmatch(r"Write (\w+) backwards\.", question)[1][::-1]


def delete(question):
    letter, word = re.fullmatch(r"Remove every (\w) from (\w+)\.", question).groups()
    return word.replace(letter, "")


def replace(question):
    old, new, word = re.fullmatch(r"Replace every (\w) by (\w) in (\w+)\.", question).groups()
    return word.replace(old, new)


def calculator(question):
    return eval(re.fullmatch(r"Use the calculator: what is (\d+ [-+*] \d+)\?", question)[1])


known = {"addition": arithmetic, "subtraction": arithmetic, "multiplication": arithmetic}
replies = []
for one in json.load(sys.stdin):
    task = known.get(one["task"]) or globals()[one["task"]]
    replies.append(countdown(one["question"], one["answer"]) if task is countdown else str(task(one["question"])))
json.dump(replies, sys.stdout)
