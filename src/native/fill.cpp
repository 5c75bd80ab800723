#include "fill.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "environment.h"
#include "pages.h"
#include "threads.h"

namespace fanin {
namespace {

std::atomic<int64_t> elements_per_thread{1 << 18};
constexpr int64_t pieces_per_thread = 16;   // at least, so that a late thread takes fewer of them
constexpr int64_t largest_portion = 1 << 20;  // elements
constexpr int64_t longest_piece = 1 << 14;  // elements of a run
constexpr int64_t longest_table = 1 << 16;  // lanes of several axes, which are tabled all at once
constexpr int64_t elements_of_a_tile = 1 << 15, elements_of_a_copy = 1 << 10;

// Drops axes of length 1 and joins neighboring axes that form a single axis both in memory and in the stream.
std::vector<Axis> simplified(const std::vector<Axis>& axes) {
    std::vector<Axis> result;
    for (const Axis& axis : axes) {
        if (axis.length == 1) continue;
        if (!result.empty()) {
            Axis& outer = result.back();
            if (outer.byte_stride == axis.byte_stride * axis.length &&
                outer.index_stride == axis.index_stride * uint64_t(axis.length)) {
                outer = {outer.length * axis.length, axis.byte_stride, axis.index_stride};
                continue;
            }
        }
        result.push_back(axis);
    }
    return result;
}

template <class Word>
void scatter_words(const char* from, int64_t count, char* to, int64_t stride) {
    for (; count; --count, from += sizeof(Word), to += stride) std::memcpy(to, from, sizeof(Word));
}

// Copies elements that are side by side to places that are `stride` bytes apart.
void scatter(const char* from, int64_t count, int64_t item_size, char* to, int64_t stride) {
    (item_size == 2 ? scatter_words<uint16_t> : item_size == 4 ? scatter_words<uint32_t> : scatter_words<uint64_t>)(from, count, to, stride);
}

// The memory of an array that takes all that it spans. It may be fresh.
class FreshMemory {
  public:
    explicit FreshMemory(const Array& array) : begin(array.data) {
        int64_t last = 0;
        bytes = array.item_size;
        for (const Axis& axis : array.axes) {
            bytes *= axis.length;
            const int64_t reach = axis.byte_stride * (axis.length - 1);
            if (reach < 0) begin += reach;
            else last += reach;
        }
        if (array.data + last + array.item_size - begin != bytes) bytes = 0;
    }

    // Takes the pages of the tiles [from, to) of `count`. Tiles mostly follow each other in memory, too; where they do not,
    // these pages are those of other tiles, which are written before long.
    void prepare(int64_t from, int64_t to, int64_t count) const {
        const auto place = [&](int64_t tile) { return int64_t((__int128)bytes * std::min(tile, count) / count); };
        if (bytes >= least) take_pages(begin + place(from), size_t(place(to) - place(from)));
    }

  private:
    static constexpr int64_t least = 4 << 20;
    char* begin;
    int64_t bytes;  // 0 if parts of it are not the array's
};

int64_t divided_up(int64_t number, int64_t by) { return (number + by - 1) / by; }

// The axes of an array but for `columns`, the one along which the stream runs: `lanes`, which are tabled, and `outer`. Lanes
// are an axis, or several, along which elements are evenly spaced in memory, side by side if the array has such axes.
struct Axes {
    std::vector<Axis> outer, lanes;  // the lanes' fastest in memory first
    Axis columns;
    int64_t lane_count = 1, lane_stride = 0;

    explicit Axes(const Array& array) : outer(simplified(array.axes)), columns{1, array.item_size, 1} {
        if (!outer.empty() && outer.back().index_stride == 1) {
            columns = outer.back();
            outer.pop_back();
        }
        const auto fastest = std::min_element(outer.begin(), outer.end(), [&](const Axis& a, const Axis& b) {
            return std::abs(a.byte_stride) < std::abs(b.byte_stride);
        });
        if (fastest == outer.end()) return;
        lane_stride = fastest->byte_stride;
        for (auto next = fastest; next != outer.end();) {
            lane_count *= next->length;
            lanes.push_back(*next);
            outer.erase(next);
            next = std::find_if(outer.begin(), outer.end(), [&](const Axis& axis) {
                return axis.byte_stride == lane_stride * lane_count && axis.length <= longest_table / lane_count;
            });
        }
        // No table of blocks is to overflow. Tensors of so many elements exist in parts only.
        uint64_t span = 0;
        for (const Axis& axis : lanes) span |= axis.index_stride * uint64_t(axis.length - 1) | axis.index_stride;
        if (span >> 52) {
            outer.insert(outer.end(), lanes.begin(), lanes.end());
            lanes.clear();
            lane_count = 1;
        }
    }
};

// An array as tiles, in one of two ways: as runs of neighbors in the stream, or as rows of `lanes`, each of which takes its
// groups from the stream. Rows are made side by side, so they are best where neighbors in memory are lanes.
class Tiling {
  public:
    Tiling(const Array& array, const Kernels& kernels, int kernel, const Draw& draw)
        : data(array.data), item_size(array.item_size), group(group_size(array.item_size)), first_index(array.first_index),
          kernel(kernels.of[kernel]), draw(draw), axes(array) {
        uint64_t places = reinterpret_cast<uintptr_t>(data) | uint64_t(axes.columns.length > 1 ? axes.columns.byte_stride : 0);
        for (const Axis& axis : array.axes) places |= uint64_t(axis.length > 1 ? axis.byte_stride : 0);
        const bool aligned = places % uint64_t(item_size) == 0;  // elements of views into records may not be
        const auto is_direct = [&](int64_t length, int64_t stride) { return aligned && (length == 1 || stride == item_size); };
        const Axis& columns = axes.columns;
        // What each way makes for an element that is wanted; twice as much where elements are copied to their places.
        const double whole_runs = divided_up(columns.length, group_padding * group) * double(group_padding * group) / columns.length;
        const double whole_lanes = divided_up(axes.lane_count, group_padding) * double(group_padding) / axes.lane_count *
                                   divided_up(columns.length, group) * group / columns.length;
        const bool direct_runs = is_direct(columns.length, columns.byte_stride);
        const bool direct_lanes = is_direct(axes.lane_count, axes.lane_stride);
        by_rows = !axes.lanes.empty() && whole_lanes * (direct_lanes ? 1 : 2) < whole_runs * (direct_runs ? 1 : 2);
        direct = by_rows ? direct_lanes : direct_runs;
        if (by_rows) {
            table_lanes();
            row_length = std::min(direct ? int64_t(most_lanes) : elements_of_a_copy / group, axes.lane_count);
            row_tiles = divided_up(axes.lane_count, row_length);
            // Rows that begin within groups make one group in vain in each tile, so their tiles are larger.
            const int64_t elements = !direct ? elements_of_a_copy : staggered ? 4 * elements_of_a_tile : elements_of_a_tile;
            width = elements / row_length / group * group;
            column_tiles = divided_up(columns.length, width);
        } else {
            axes.outer.insert(axes.outer.end(), axes.lanes.begin(), axes.lanes.end());
            width = std::clamp<int64_t>(elements_per_thread / pieces_per_thread, 64, longest_piece);
            if (!direct) width = std::min(width, elements_of_a_copy);
            column_tiles = divided_up(columns.length, width);
        }
        tile_count = column_tiles * row_tiles;
        for (const Axis& axis : axes.outer) tile_count *= axis.length;
    }

    int64_t count() const { return tile_count; }

    // Fills tiles [begin, end). Only the first position takes divisions: a region may have a tile for every element.
    void fill(int64_t begin, int64_t end) const {
        const std::vector<Axis>& outer = axes.outer;
        int64_t rest = begin;
        int64_t row_tile = rest % row_tiles;
        rest /= row_tiles;
        int64_t column_tile = rest % column_tiles;
        rest /= column_tiles;
        int64_t position[max_rank];  // on the stack: a fill that has begun must not fail
        char* to = data;
        uint64_t index = first_index;
        for (size_t i = outer.size(); i-- > 0;) {
            position[i] = rest % outer[i].length;
            rest /= outer[i].length;
            to += position[i] * outer[i].byte_stride;
            index += uint64_t(position[i]) * outer[i].index_stride;
        }
        for (int64_t tile = begin; tile < end; ++tile) {
            if (by_rows) fill_rows(to, index, row_tile * row_length, column_tile * width);
            else fill_run(to, index, column_tile * width);
            if (++row_tile < row_tiles) continue;
            row_tile = 0;
            if (++column_tile < column_tiles) continue;
            column_tile = 0;
            for (size_t i = outer.size(); i-- > 0;) {
                to += outer[i].byte_stride;
                index += outer[i].index_stride;
                if (++position[i] < outer[i].length) break;
                to -= outer[i].length * outer[i].byte_stride;
                index -= uint64_t(outer[i].length) * outer[i].index_stride;
                position[i] = 0;
            }
        }
    }

  private:
    static constexpr int64_t largest_item = 8;

    // Whether the table has all lanes; otherwise those of a row, from any lane on.
    bool tabled_whole() const { return axes.lanes.size() > 1; }

    // Tables where each lane begins in the stream, counted from the first lane.
    void table_lanes() {
        const int64_t tabled = tabled_whole() ? axes.lane_count : std::min(axes.lane_count, int64_t(most_lanes));
        starts.resize(size_t(divided_up(tabled, group_padding) * group_padding));
        int64_t position[max_rank] = {};
        uint64_t start = 0;
        for (int64_t lane = 0; lane < tabled; ++lane) {
            starts[size_t(lane)] = start;
            staggered |= start % uint64_t(group) != 0;
            farthest = std::max(farthest, start);
            for (size_t i = 0; i < axes.lanes.size(); ++i) {
                const Axis& axis = axes.lanes[i];
                start += axis.index_stride;
                if (++position[i] < axis.length) break;
                start -= axis.index_stride * uint64_t(axis.length);
                position[i] = 0;
            }
        }
    }

    void fill_run(char* to, uint64_t index, int64_t column) const {
        const int64_t count = std::min(width, axes.columns.length - column);
        to += column * axes.columns.byte_stride;
        index += uint64_t(column);
        if (direct) {
            kernel.run(draw, index, uint64_t(count), to);
            return;
        }
        alignas(64) char made[elements_of_a_copy * largest_item];
        kernel.run(draw, index, uint64_t(count), made);
        scatter(made, count, item_size, to, axes.columns.byte_stride);
    }

    void fill_rows(char* to, uint64_t index, int64_t lane, int64_t column) const {
        const int64_t stride = axes.columns.byte_stride, rows = std::min(width, axes.columns.length - column);
        const uint64_t count = uint64_t(std::min(row_length, axes.lane_count - lane));
        const uint64_t* const from = starts.data() + (tabled_whole() ? lane : 0);
        if (!tabled_whole()) index += uint64_t(lane) * axes.lanes[0].index_stride;
        to += lane * axes.lane_stride + column * stride;
        index += uint64_t(column);
        if (direct) {
            kernel.rows(draw, {index, from, farthest, staggered, count, rows, to, stride});
            return;
        }
        alignas(64) char made[elements_of_a_copy * largest_item];
        const int64_t made_stride = int64_t(count) * item_size;
        kernel.rows(draw, {index, from, farthest, staggered, count, rows, made, made_stride});
        for (int64_t row = 0; row < rows; ++row)
            scatter(made + row * made_stride, int64_t(count), item_size, to + row * stride, axes.lane_stride);
    }

    char* data;
    int64_t item_size, group;
    uint64_t first_index;
    const Kernel& kernel;
    const Draw& draw;
    Axes axes;
    bool by_rows, direct, staggered = false;
    std::vector<uint64_t> starts;  // of the lanes in the stream, counted from that of the first one
    uint64_t farthest = 0;
    int64_t width, column_tiles, row_length = 1, row_tiles = 1, tile_count;
};

}  // namespace

bool fill(const Array& array, const Kernels& kernels, int kernel, const Draw& draw, int threads, Interruption* interruption) {
    int64_t elements = 1;
    for (const Axis& axis : array.axes) elements *= axis.length;
    if (elements == 0) return true;

    const FreshMemory memory(array);
    const Tiling tiling(array, kernels, kernel, draw);
    const int64_t per_thread = elements_per_thread;
    const int64_t wanted = std::min({int64_t(threads), elements / per_thread, tiling.count()});
    // Threads take several tiles at a time, whatever their size: so many that two seldom write to the same large page, few
    // enough that a late thread takes fewer of them, and that a fill can be stopped soon.
    const int64_t portion = std::clamp(elements / (pieces_per_thread * threads), per_thread / 4, std::max(largest_portion, per_thread / 4));
    const int64_t portions = std::max<int64_t>(1, elements / std::max<int64_t>(1, portion));
    const int64_t step = std::max<int64_t>(1, tiling.count() / portions);
    std::atomic<int64_t> next{0};
    std::atomic<bool> stop{false};
    const std::thread::id caller = std::this_thread::get_id();
    const auto work = [&] {
        const DefaultFloatEnvironment environment;
        Interruption* const asked = std::this_thread::get_id() == caller ? interruption : nullptr;
        for (int64_t begin; !stop.load(std::memory_order_relaxed) && (begin = next.fetch_add(step)) < tiling.count();) {
            memory.prepare(begin, begin + step, tiling.count());
            tiling.fill(begin, std::min(begin + step, tiling.count()));
            if (asked && begin + step < tiling.count() && asked->wanted()) stop.store(true, std::memory_order_relaxed);
        }
    };
    run_with_helpers(int(wanted) - 1, work);
    return !stop;
}

int64_t set_elements_per_thread(int64_t elements) { return elements_per_thread.exchange(std::max<int64_t>(1, elements)); }

}  // namespace fanin
