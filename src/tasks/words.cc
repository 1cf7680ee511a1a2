// See words.h.
#include "tasks/words.h"

#include <array>

namespace um {
namespace {

constexpr std::string_view kWords[] = {
    "apple",  "arrow",  "autumn", "bread",   "bridge", "brush",  "cabin",  "candle", "carpet",
    "chair",  "cloud",  "coast",  "copper",  "dance",  "desert", "doctor", "eagle",  "engine",
    "fabric", "farmer", "field",  "flame",   "forest", "fruit",  "garden", "glass",  "harbor",
    "honey",  "island", "jacket", "juice",   "kettle", "ladder", "lemon",  "letter", "market",
    "meadow", "metal",  "mirror", "morning", "motor",  "museum", "needle", "night",  "ocean",
    "orange", "paper",  "pencil", "pepper",  "piano",  "pocket", "queen",  "rabbit", "river",
    "rocket", "saddle", "salt",   "school",  "shadow", "silver", "snow",   "spoon",  "stone",
    "summer", "table",  "temple", "tiger",   "tower",  "train",  "valley", "violin", "water",
    "window", "winter", "wolf",   "yard",    "zebra"};
constexpr std::string_view kChineseWords[] = {
    "苹果", "面包", "桥梁", "刷子", "蜡烛", "地毯", "椅子", "云彩", "海岸", "沙漠", "医生", "老鹰",
    "农民", "田野", "火焰", "森林", "水果", "花园", "玻璃", "港口", "蜂蜜", "岛屿", "外套", "果汁",
    "水壶", "梯子", "柠檬", "信件", "市场", "草地", "金属", "镜子", "早晨", "夜晚", "海洋", "橙子",
    "铅笔", "辣椒", "钢琴", "口袋", "兔子", "河流", "火箭", "学校", "影子", "雪花", "勺子", "石头",
    "夏天", "桌子", "老虎", "高塔", "火车", "山谷", "窗户", "冬天"};
constexpr std::string_view kNames[] = {"Anna",  "Ben",   "Clara", "David", "Emma", "Felix", "Grace",
                                       "Henry", "Iris",  "Jack",  "Kate",  "Leo",  "Maria", "Noah",
                                       "Olga",  "Peter", "Rosa",  "Sam",   "Tina", "Victor"};
constexpr std::string_view kChineseNames[] = {"小明", "小红", "小刚", "小丽", "小华", "小芳",
                                              "小军", "小雪", "小龙", "小梅", "小强", "小兰",
                                              "小东", "小燕", "小杰", "小玉"};
constexpr std::string_view kLetters[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i",
                                         "j", "k", "l", "m", "n", "o", "p", "q", "r",
                                         "s", "t", "u", "v", "w", "x", "y", "z"};
constexpr std::string_view kCharacters[] = {"山", "水", "木", "火", "土", "日", "月", "天", "人",
                                            "大", "小", "中", "上", "下", "手", "口", "心", "花",
                                            "鸟", "鱼", "马", "牛", "羊", "风", "雨", "田"};

}  // namespace

std::span<const std::string_view> common_words(Language language) {
  if (language == Language::kEnglish) return kWords;
  return kChineseWords;
}

std::span<const std::string_view> first_names(Language language) {
  if (language == Language::kEnglish) return kNames;
  return kChineseNames;
}

std::span<const std::string_view> letters(Language language) {
  if (language == Language::kEnglish) return kLetters;
  return kCharacters;
}

}  // namespace um
