// The pictures of the README, made by the page itself: PARLOR_TEST_PAGE_SHOTS=deploy/pictures, see README.

import path from "node:path";

const WEBHOOK = `A **webhook** is a message that one program sends to another the moment something happens. Nobody has to ask \
“anything new?” again and again: the receiver gives out an address and waits to be called.

\`\`\`json
{ "event": "message.created", "text": "Is anybody there?" }
\`\`\`

Three things make a good receiver:

1. **Verify** the signature before you read the rest.
2. **Store** first, then answer \`200\`: what you acknowledge, you must not lose.
3. **Expect repeats.** The sender tries again whenever it is in doubt.`;
const TEA = `| | Tea | Coffee |
|---|---|---|
| Caffeine in a cup | 20–50 mg | 80–120 mg |
| Water | 70–95 °C | 90–96 °C |
| Mood | slow afternoons | quick mornings |

> Either way, good water matters more than the pot.`;
const NOTE = `Dear all,\n\nwould **Friday at ten** suit you as well?`;
const WEBHOOK_ZH = `**Webhook** 是一个程序在事情发生的那一刻，主动发给另一个程序的消息。接收方不必一遍遍地问“有新消息吗”，\
只要留下一个地址，等着被调用就好。

\`\`\`json
{ "event": "message.created", "text": "有人在吗？" }
\`\`\`

写好接收端要记住三点：

1. **先验签**，再读其余内容。
2. **先落库**，再回 \`200\`：确认过的消息不能丢。
3. **允许重复**：对方拿不准时会再发一次。`;
const TEA_ZH = `| | 茶 | 咖啡 |
|---|---|---|
| 每杯咖啡因 | 20–50 毫克 | 80–120 毫克 |
| 水温 | 70–95 °C | 90–96 °C |
| 心情 | 慢悠悠的午后 | 匆忙的早晨 |

> 不管喝哪一种，好水都比好壶更要紧。`;
const NOTE_ZH = `各位好：\n\n会议改到**周五上午十点**，大家方便吗？`;

const TALKS = {
  en: [
    ["Write a polite note to move a meeting to Friday", NOTE],
    ["Compare tea and coffee in a small table", TEA],
    ["Explain what a webhook is, with an example", WEBHOOK],
  ],
  zh: [
    ["写一段客气的话，把会议改到周五", NOTE_ZH],
    ["用一个小表格比较茶和咖啡", TEA_ZH],
    ["举例解释什么是 Webhook", WEBHOOK_ZH],
  ],
};
const DESKTOP = { viewport: { width: 1120, height: 660 }, deviceScaleFactor: 1.3 };
const PHONE = { viewport: { width: 390, height: 640 }, hasTouch: true, isMobile: true, deviceScaleFactor: 1.5 };
const PICTURES = [
  { name: "chat.png", talks: TALKS.en, wishes: DESKTOP },
  { name: "chat.zh-CN.png", talks: TALKS.zh, wishes: { ...DESKTOP, locale: "zh-CN" } },
  { name: "chat-phone.png", talks: TALKS.en.slice(0, 2), wishes: { ...PHONE, colorScheme: "dark" } },
  { name: "chat-phone.zh-CN.png", talks: TALKS.zh.slice(0, 2), wishes: { ...PHONE, colorScheme: "dark", locale: "zh-CN" } },
];

export async function shoot(world, folder) {
  for (const { name, talks, wishes } of PICTURES) {
    const visit = await world.visit(wishes);
    for (const [query, answer] of talks) {
      await world.model.script(query, answer);
      await visit.page.evaluate(() => document.querySelector(".fresh").click());
      await visit.converse(query);
    }
    await visit.page.evaluate(() => document.activeElement.blur());
    await visit.page.waitForFunction(() => document.getAnimations().length === 0);
    await visit.page.screenshot({ path: path.join(folder, name) });
    console.log(`made ${name}`);
  }
  await world.closeVisits();
}
